//! `--display window`: a window of X11 or Wayland, on a thread of its own.
//!
//! A click gives the mouse to the guest, Ctrl-Alt-G gives it back; Ctrl-Alt-F is the full screen and back, Ctrl-Alt-P
//! stops guest time and lets it go on, Ctrl-Alt-R presses reset. Closing the window ends the machine.

use super::remote::{Hub, Input, Remote, Shown};
use super::{places, scale};
use crate::error::{Error, Result};
use crate::scheduler::Waker;
use ring86_devices::i8042::{Buttons, KeyCode};
use softbuffer::{Context, Surface};
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use winit::application::ApplicationHandler;
use winit::dpi::LogicalSize;
use winit::event::{DeviceEvent, DeviceId, ElementState, KeyEvent, MouseButton, MouseScrollDelta, WindowEvent};
use winit::event_loop::{ActiveEventLoop, EventLoop, EventLoopProxy};
use winit::keyboard::PhysicalKey;
use winit::platform::x11::EventLoopBuilderExtX11;
use winit::window::{CursorGrabMode, Fullscreen, Window, WindowId};

/// The window's first size.
const SIZE: LogicalSize<u32> = LogicalSize::new(960, 720);
/// Distance, in dots, that wheels without notches count as one.
const NOTCH: f64 = 40.0;
/// Fastest mouse: counts in one event.
const FASTEST: f64 = 4096.0;

/// There is something new to show.
#[derive(Debug)]
struct Changed;

/// Opens the window.
///
/// # Errors
/// If there is no X11 or Wayland to be had.
pub fn open(waker: Waker) -> Result<Remote> {
    let (remote, hub) = Remote::local(waker);
    let (started, outcome) = channel();
    let spawned = std::thread::Builder::new().name("ring86-window".to_owned()).spawn(move || run(hub, &started));
    spawned.map_err(|e| Error::new(format!("--display window: no thread: {e}")))?;
    match outcome.recv() {
        Ok(Ok(())) => Ok(remote),
        Ok(Err(why)) => Err(Error::new(format!("--display window: {why}; use web, vnc or terminal without a desktop"))),
        Err(_) => Err(Error::new("--display window: the window's thread has ended")),
    }
}

/// The window's thread. Says once whether there is a window.
fn run(hub: Arc<Hub>, started: &Sender<std::result::Result<(), String>>) {
    let mut builder = EventLoop::<Changed>::with_user_event();
    // The machine has the first thread.
    let events = match builder.with_any_thread(true).build() {
        Ok(events) => events,
        Err(error) => {
            drop(started.send(Err(format!("no window can be had: {error}"))));
            return;
        }
    };
    watch(Arc::clone(&hub), events.create_proxy());
    let mut screen = Screen::new(Arc::clone(&hub), started.clone());
    if let Err(error) = events.run_app(&mut screen) {
        log::warn!("the window is gone: {error}");
    }
    hub.send(Input::Leave);
}

/// Tells the window about changes, on a thread of its own, until the window is gone.
fn watch(hub: Arc<Hub>, window: EventLoopProxy<Changed>) {
    std::thread::spawn(move || {
        let mut seen = 0;
        loop {
            let number = hub.wait(|shown| shown.number != seen).number;
            if number != seen && window.send_event(Changed).is_err() {
                return;
            }
            seen = number;
        }
    });
}

/// The window and what is in it.
struct Screen {
    hub: Arc<Hub>,
    started: Sender<std::result::Result<(), String>>,
    window: Option<Open>,
    /// Keys that the guest believes are down.
    down: HashSet<KeyCode>,
    /// The guest has the mouse.
    captured: bool,
    buttons: Buttons,
    /// Movement that is not a whole count yet: right, towards the user, wheel towards the user.
    rest: [f64; 3],
    paused: bool,
}

struct Open {
    window: Arc<Window>,
    surface: Surface<Arc<Window>, Arc<Window>>,
}

impl Open {
    fn new(events: &ActiveEventLoop) -> std::result::Result<Self, String> {
        let attributes = Window::default_attributes().with_inner_size(SIZE).with_title(title(false, false));
        let window = Arc::new(events.create_window(attributes).map_err(|e| format!("no window can be had: {e}"))?);
        let context = Context::new(Arc::clone(&window)).map_err(|e| format!("nothing can be drawn: {e}"))?;
        let surface = Surface::new(&context, Arc::clone(&window)).map_err(|e| format!("nothing can be drawn: {e}"))?;
        Ok(Open { window, surface })
    }

    /// Draws the whole window: the picture in its own shape, black around it.
    fn draw(&mut self, shown: &Shown) -> std::result::Result<(), softbuffer::SoftBufferError> {
        let size = self.window.inner_size();
        let (Some(width), Some(height)) = (NonZeroU32::new(size.width), NonZeroU32::new(size.height)) else {
            return Ok(());
        };
        self.surface.resize(width, height)?;
        let mut buffer = self.surface.buffer_mut()?;
        let (width, height) = (size.width as usize, size.height as usize);
        let (left, top, across, down) = scale::fit(shown.aspect, (width, height));
        let picture = scale::scaled(&shown.frame, across, down);
        buffer.fill(0);
        for (row, dots) in buffer.chunks_exact_mut(width).skip(top).zip(picture.chunks_exact(across)) {
            row[left..left + across].copy_from_slice(dots);
        }
        buffer.present()
    }
}

/// What the window's title says.
fn title(captured: bool, paused: bool) -> &'static str {
    match (captured, paused) {
        (_, true) => "Ring86: stopped, Ctrl-Alt-P goes on",
        (true, false) => "Ring86: Ctrl-Alt-G gives the mouse back",
        (false, false) => "Ring86",
    }
}

impl Screen {
    fn new(hub: Arc<Hub>, started: Sender<std::result::Result<(), String>>) -> Self {
        let (down, buttons) = (HashSet::new(), Buttons::default());
        Screen { hub, started, window: None, down, captured: false, buttons, rest: [0.0; 3], paused: false }
    }

    fn send(&self, input: Input, events: &ActiveEventLoop) {
        if !self.hub.send(input) {
            events.exit();
        }
    }

    fn key(&mut self, event: &KeyEvent, events: &ActiveEventLoop) {
        let PhysicalKey::Code(code) = event.physical_key else { return };
        // The names are those of UI Events, but for the logo keys.
        let name = format!("{code:?}").replace("Super", "Meta");
        let Some(key) = places::key(&name) else { return };
        let pressed = event.state == ElementState::Pressed;
        if pressed && event.repeat {
            // The guest's keyboard repeats keys by itself.
            return;
        }
        if pressed && self.is_down(&[KeyCode::ControlLeft, KeyCode::ControlRight]) && self.is_down(&[KeyCode::AltLeft])
        {
            match key {
                KeyCode::G => return self.capture(!self.captured),
                KeyCode::F => return self.toggle_full_screen(),
                KeyCode::P => return self.send(Input::Pause(!self.paused), events),
                KeyCode::R => return self.send(Input::Reset, events),
                _ => {}
            }
        }
        let changed = if pressed { self.down.insert(key) } else { self.down.remove(&key) };
        if changed {
            self.send(Input::Key(key, pressed), events);
        }
    }

    fn is_down(&self, keys: &[KeyCode]) -> bool {
        keys.iter().any(|key| self.down.contains(key))
    }

    /// Keys that go up while another window has the keyboard would stay down for ever.
    fn release_all(&mut self, events: &ActiveEventLoop) {
        for key in std::mem::take(&mut self.down) {
            self.send(Input::Key(key, false), events);
        }
    }

    fn toggle_full_screen(&self) {
        if let Some(Open { window, .. }) = &self.window {
            let full = window.fullscreen().is_none().then_some(Fullscreen::Borderless(None));
            window.set_fullscreen(full);
        }
    }

    /// Gives the mouse to the guest, or back.
    fn capture(&mut self, captured: bool) {
        let Some(Open { window, .. }) = &self.window else { return };
        let held = match captured {
            true => [CursorGrabMode::Locked, CursorGrabMode::Confined]
                .into_iter()
                .any(|m| window.set_cursor_grab(m).is_ok()),
            false => {
                drop(window.set_cursor_grab(CursorGrabMode::None));
                false
            }
        };
        window.set_cursor_visible(!held);
        self.captured = held;
        window.set_title(title(self.captured, self.paused));
    }

    fn button(&mut self, button: MouseButton, pressed: bool, events: &ActiveEventLoop) {
        if !self.captured {
            // The click that gives the mouse to the guest is not one for the guest.
            return if pressed {
                self.capture(true)
            };
        }
        let which = match button {
            MouseButton::Left => &mut self.buttons.left,
            MouseButton::Right => &mut self.buttons.right,
            MouseButton::Middle => &mut self.buttons.middle,
            MouseButton::Back => &mut self.buttons.fourth,
            MouseButton::Forward => &mut self.buttons.fifth,
            MouseButton::Other(_) => return,
        };
        *which = pressed;
        self.moved([0.0; 3], true, events);
    }

    /// Passes on whole counts of what has moved, or in any case the buttons.
    fn moved(&mut self, by: [f64; 3], buttons: bool, events: &ActiveEventLoop) {
        if !self.captured {
            return;
        }
        let mut counts = [0; 3];
        for ((rest, by), count) in self.rest.iter_mut().zip(by).zip(&mut counts) {
            let sum = (*rest + by).clamp(-FASTEST, FASTEST);
            *count = sum as i32;
            *rest = sum.fract();
        }
        let [right, towards, wheel] = counts;
        if buttons || counts != [0; 3] {
            self.send(Input::Mouse { right, away: -towards, wheel, buttons: self.buttons }, events);
        }
    }

    fn draw(&mut self) {
        let shown = self.hub.wait(|_| true);
        let Some(open) = &mut self.window else { return };
        if shown.paused != self.paused {
            self.paused = shown.paused;
            open.window.set_title(title(self.captured, self.paused));
        }
        if let Err(error) = open.draw(&shown) {
            log::warn!("the window cannot be drawn: {error}");
        }
    }
}

impl ApplicationHandler<Changed> for Screen {
    fn resumed(&mut self, events: &ActiveEventLoop) {
        if self.window.is_some() {
            return;
        }
        let opened = Open::new(events).map(|open| self.window = Some(open));
        if opened.is_err() {
            events.exit();
        }
        // Nobody listens a second time.
        drop(self.started.send(opened));
    }

    fn user_event(&mut self, _: &ActiveEventLoop, _: Changed) {
        if let Some(open) = &self.window {
            open.window.request_redraw();
        }
    }

    fn window_event(&mut self, events: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        match event {
            WindowEvent::CloseRequested | WindowEvent::Destroyed => events.exit(),
            WindowEvent::RedrawRequested => self.draw(),
            WindowEvent::Resized(_) => {
                if let Some(open) = &self.window {
                    open.window.request_redraw();
                }
            }
            WindowEvent::KeyboardInput { event, is_synthetic: false, .. } => self.key(&event, events),
            WindowEvent::MouseInput { state, button, .. } => {
                self.button(button, state == ElementState::Pressed, events);
            }
            WindowEvent::MouseWheel { delta, .. } => {
                let away = match delta {
                    MouseScrollDelta::LineDelta(_, lines) => f64::from(lines),
                    MouseScrollDelta::PixelDelta(by) => by.y / NOTCH,
                };
                self.moved([0.0, 0.0, -away], false, events);
            }
            WindowEvent::Focused(false) => {
                self.release_all(events);
                self.capture(false);
            }
            _ => {}
        }
    }

    fn device_event(&mut self, events: &ActiveEventLoop, _: DeviceId, event: DeviceEvent) {
        if let DeviceEvent::MouseMotion { delta: (right, towards) } = event {
            self.moved([right, towards, 0.0], false, events);
        }
    }
}
