//! The page of `--display web` in a browser without a screen, Chromium, driven over its debugging protocol: what the user
//! sees, types and presses goes through the page's own script.

#[path = "support/folder.rs"]
mod folder;
#[path = "support/mouse.rs"]
mod mouse;
#[path = "support/patience.rs"]
mod patience;
#[path = "support/pictures.rs"]
mod pictures;
#[path = "support/running.rs"]
mod running;
#[path = "support/sector.rs"]
mod sector;

use folder::{Folder, ring86};
use patience::PATIENCE;
use running::Running;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tungstenite::{Message, WebSocket};

/// A browser with one page.
struct Browser {
    process: Child,
    socket: WebSocket<TcpStream>,
    session: Value,
    commands: u64,
}

impl Browser {
    /// Opens `url`. `None`, and a line that says so, if this host has no Chromium; in CI that is a failure.
    fn open(folder: &Folder, url: &str) -> Option<Self> {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let there = |name: &&str| Command::new(name).arg("--version").stdout(Stdio::null()).status().is_ok();
        let Some(name) = names.into_iter().find(there) else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "chromium is missing");
            eprintln!("skipped: chromium is missing (apt-get install chromium)");
            return None;
        };
        // Its own sandbox wants rights that a container's root does not have; it sees this page only.
        let mut process = Command::new(name)
            .args(["--headless=new", "--remote-debugging-port=0", "--no-sandbox", "--disable-gpu", "--no-first-run"])
            .args(["--disable-dev-shm-usage", "--disable-extensions", "--window-size=1000,800"])
            .arg(format!("--user-data-dir={}", folder.0.join("profile").display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the browser starts");
        let mut lines = BufReader::new(process.stderr.take().expect("it was asked for")).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned))
            .expect("the browser says where it listens");
        // What else it says is read, so that it never waits for a reader.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let host = address.trim_start_matches("ws://").split('/').next().expect("an address");
        let stream = TcpStream::connect(host).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a good time");
        let (socket, _) = tungstenite::client(address.as_str(), stream).expect("it speaks WebSocket");
        let mut browser = Browser { process, socket, session: Value::Null, commands: 0 };
        let target = browser.call("Target.createTarget", json!({ "url": url }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        browser.session = browser.call("Target.attachToTarget", attach)["sessionId"].clone();
        Some(browser)
    }

    /// A command of the debugging protocol, and its result.
    #[track_caller]
    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.commands += 1;
        let mut command = json!({ "id": self.commands, "method": method, "params": parameters });
        if !self.session.is_null() {
            command["sessionId"] = self.session.clone();
        }
        self.socket.send(Message::text(command.to_string())).expect("it listens");
        loop {
            let Message::Text(text) = self.socket.read().expect("an answer") else { continue };
            let mut answer: Value = serde_json::from_str(&text).expect("JSON");
            if answer["id"] == self.commands {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
        }
    }

    /// The value of an expression of the page's script.
    #[track_caller]
    fn value(&mut self, expression: &str) -> Value {
        let mut result = self.call("Runtime.evaluate", json!({ "expression": expression, "returnByValue": true }));
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Asks until the expression is true. On a page that is not whole yet it may have no value.
    #[track_caller]
    fn wait(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.value(&format!("(() => {{ try {{ return {expression} }} catch {{ return false }} }})()")) != true {
            let status = self.value("document.body?.innerText");
            assert!(Instant::now() < end, "never {expression}; the page says {status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Presses and releases keys on a US keyboard.
    fn types(&mut self, text: &str) {
        for c in text.chars() {
            let (code, key) = match c {
                ' ' => ("Space".to_owned(), " ".to_owned()),
                '\n' => ("Enter".to_owned(), "Enter".to_owned()),
                _ => (format!("Key{}", c.to_ascii_uppercase()), c.to_string()),
            };
            for way in ["rawKeyDown", "keyUp"] {
                self.call("Input.dispatchKeyEvent", json!({ "type": way, "code": code, "key": key }));
            }
        }
    }

    /// The whole page as PNG.
    fn picture(&mut self) -> Vec<u8> {
        const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let shot = self.call("Page.captureScreenshot", json!({}));
        let digits = shot["data"].as_str().expect("base64").chars().map_while(|c| DIGITS.find(c));
        let (mut bits, mut count, mut bytes) = (0usize, 0, Vec::new());
        for digit in digits {
            bits = bits << 6 | digit;
            count += 6;
            if count >= 8 {
                count -= 8;
                bytes.push((bits >> count) as u8);
                bits &= (1 << count) - 1;
            }
        }
        bytes
    }

    /// The middle of an element.
    fn middle(&mut self, id: &str) -> (f64, f64) {
        let place = self.value(&format!(
            "(r => ({{ x: r.x + r.width / 2, y: r.y + r.height / 2 }}))(byId('{id}').getBoundingClientRect())"
        ));
        (place["x"].as_f64().expect("a number"), place["y"].as_f64().expect("a number"))
    }

    /// The mouse does something at a place of the page, with these buttons down behind it.
    fn mouse(&mut self, way: &str, (x, y): (f64, f64), button: &str, buttons: u8) {
        let event = json!({ "type": way, "x": x, "y": y, "button": button, "buttons": buttons, "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", event);
    }

    /// A click in the middle of an element.
    fn click(&mut self, id: &str) {
        let place = self.middle(id);
        self.mouse("mousePressed", place, "left", 1);
        self.mouse("mouseReleased", place, "left", 0);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// How many dots of the canvas are not black.
const LIT: &str = "context.getImageData(0, 0, canvas.width, canvas.height).data\
                   .reduce((n, v, i) => n + (i % 4 === 0 && v > 64 ? 1 : 0), 0)";

/// A sum of the canvas's dots that depends on their order, and the same of a picture.
const SUM: &str = "context.getImageData(0, 0, canvas.width, canvas.height).data\
                   .reduce((sum, v, i) => i % 4 === 3 ? sum : Math.imul(sum, 31) + v | 0, 7)";

fn sum(png: &[u8]) -> i32 {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("it fits")];
    let info = reader.next_frame(&mut bytes).expect("a picture");
    let dot = info.color_type.samples();
    assert!(info.bit_depth == png::BitDepth::Eight && (3..=4).contains(&dot), "{info:?}");
    let colors = bytes.chunks(dot).flat_map(|dot| &dot[..3]);
    colors.fold(7, |sum: i32, byte| sum.wrapping_mul(31).wrapping_add(i32::from(*byte)))
}

#[test]
fn a_browser_shows_the_screen_and_works_the_machine() {
    let folder = Folder::new("browser");
    let control = folder.0.join("control/machine").display().to_string();
    let mut machine = Running::new(&["demo", "--display", "web:0", "--control", &control]);
    let url = format!("http://{}", machine.says("the screen is at http://"));
    let Some(mut browser) = Browser::open(&folder, &url) else { return };
    machine.prints("ring86> ");
    browser.wait(&format!("typeof context === 'object' && {LIT} > 100"));
    // The picture keeps the shape of a monitor.
    let shape = browser.value("canvas.clientWidth / canvas.clientHeight").as_f64().expect("a number");
    assert!((shape - 4.0 / 3.0).abs() < 0.01, "{shape}");
    browser.types("echo typed in a browser\n");
    machine.prints("\ntyped in a browser");
    // The serial console, both ways.
    browser.click("console");
    browser.wait("byId('output').textContent.includes('\\ntyped in a browser')");
    browser.click("line");
    browser.call("Input.insertText", json!({ "text": "echo from the console" }));
    browser.types("\n");
    machine.prints("\nfrom the console");
    browser.wait("byId('output').textContent.includes('\\nfrom the console')");
    // A machine that stands still does not answer until it goes on.
    browser.click("pause");
    browser.wait("paused && byId('pause').textContent !== 'Pause'");
    folder.file("page.png", browser.picture());
    pictures::keep(&folder, "page.png", "browser");
    // Dot by dot, what is shown is what the machine shows.
    let taken = ring86(&folder.0, &["screenshot", &control, "shot.png"]);
    assert_eq!(taken.code, Some(0), "{}", taken.err);
    let shown = sum(&folder.read("shot.png"));
    browser.wait(&format!("{SUM} === {shown}"));
    browser.click("pause");
    browser.wait("!paused");
    browser.click("reset");
    machine.prints("ring86> ");
    // The end of the machine is seen.
    machine.child.kill().expect("it is ours");
    browser.wait("byId('status').textContent === 'the machine is gone'");
}

#[test]
fn a_browser_gives_the_mouse_and_its_buttons_work() {
    let folder = Folder::new("browser-mouse");
    let control = folder.0.join("control/machine").display().to_string();
    let image = folder.file("boot.img", sector::boot(mouse::prints_what_it_does));
    let machine = ["run", &image, "--serial", "none", "--no-reboot", "--display", "web:0", "--control", &control];
    let mut machine = Running::new(&machine);
    let url = format!("http://{}", machine.says("the screen is at http://"));
    let Some(mut browser) = Browser::open(&folder, &url) else { return };
    let shows = |text: &str| {
        let ended = ring86(&folder.0, &["control", &control, "wait-screen", text]);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
    };
    shows(">");
    browser.wait(&format!("typeof context === 'object' && {LIT} > 100"));
    // On the way to the picture it moves by whatever it moves; what is left of a count is forgotten.
    let (x, y) = browser.middle("screen");
    browser.mouse("mouseMoved", (x, y), "none", 0);
    browser.value("restX = restY = 0");
    // Status, x and y of each packet: the left button, three to the right and two up, both buttons, none.
    browser.mouse("mousePressed", (x, y), "left", 1);
    shows("900");
    let counts = |n: u32, way: &str| format!("Math.ceil({n} * canvas.client{way} / canvas.{})", way.to_lowercase());
    let right = browser.value(&counts(3, "Width")).as_f64().expect("a number");
    let up = browser.value(&counts(2, "Height")).as_f64().expect("a number");
    browser.mouse("mouseMoved", (x + right, y - up), "left", 1);
    shows("900932");
    browser.mouse("mousePressed", (x + right, y - up), "right", 3);
    shows("900932;00");
    browser.mouse("mouseReleased", (x + right, y - up), "right", 1);
    browser.mouse("mouseReleased", (x + right, y - up), "left", 0);
    shows(";00900800");
    // The pointer is the user's again.
    browser.value("document.exitPointerLock()");
    browser.wait("!document.pointerLockElement");
    browser.click("full");
    browser.wait("document.fullscreenElement === room && room.clientHeight === innerHeight");
    browser.value("document.exitFullscreen().catch(() => {}), 0");
    browser.wait("!document.fullscreenElement");
    // The picture that is saved is the one that is shown, while the cursor does not blink.
    browser.click("pause");
    browser.wait("paused");
    let saved = folder.0.join("saved");
    let allow = json!({ "behavior": "allow", "downloadPath": saved.display().to_string() });
    browser.call("Browser.setDownloadBehavior", allow);
    browser.click("shot");
    let end = Instant::now() + PATIENCE;
    while !saved.join("ring86.png").exists() {
        assert!(Instant::now() < end, "no picture was saved");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(browser.value(SUM), sum(&folder.read("saved/ring86.png")));
    browser.click("pause");
    browser.wait("!paused");
    // The BIOS resets the machine at these keys, which ends this run.
    browser.click("cad");
    browser.wait("byId('status').textContent === 'the machine is gone'");
    assert_eq!(machine.child.wait().expect("it ends").code(), Some(0));
}
