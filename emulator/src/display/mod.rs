//! `--display`: where the guest's screen is shown and its keys and mouse come from.

mod keysym;
mod places;
mod remote;
#[cfg(all(feature = "window", target_os = "linux"))]
mod scale;
pub mod terminal;
mod vnc;
mod web;
#[cfg(all(feature = "window", target_os = "linux"))]
mod window;
mod zrle;

#[cfg(not(all(feature = "window", target_os = "linux")))]
use crate::error::Error;
use crate::error::Result;
use crate::machine::Machine;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use terminal::TerminalDisplay;

/// Where the guest's screen is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Nowhere.
    #[default]
    None,
    /// In the terminal, text modes only. Ctrl-A X leaves.
    Terminal,
    /// In a window, if this build has the feature `window`.
    Window,
    /// To VNC viewers.
    Vnc(Address),
    /// To web browsers.
    Web(Address),
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Address and port of this host.
    pub socket: SocketAddr,
    /// A file whose first line viewers must know.
    pub password_file: Option<PathBuf>,
}

impl Address {
    /// `[HOST:]PORT[,password-file=F]`, this host alone by default.
    fn parse(text: &str, default_port: u16) -> std::result::Result<Self, String> {
        let mut parts = text.split(',');
        let place = parts.next().unwrap_or("").trim_start_matches(':');
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let socket = match place.strip_prefix("localhost:").unwrap_or(place) {
            "" | "localhost" => local(default_port),
            place => place.parse().map(local).or_else(|_| place.parse()).map_err(|_| {
                format!("'{place}' is no port or address; write {default_port} or 127.0.0.1:{default_port}")
            })?,
        };
        let mut password_file = None;
        for part in parts {
            match part.split_once('=') {
                Some(("password-file", file)) if !file.is_empty() => password_file = Some(file.into()),
                _ => return Err(format!("'{part}': the only option is password-file=F")),
            }
        }
        Ok(Address { socket, password_file })
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "none" if rest.is_empty() => Ok(Target::None),
            "terminal" if rest.is_empty() => Ok(Target::Terminal),
            "window" if rest.is_empty() => Ok(Target::Window),
            "vnc" => {
                let address = Address::parse(rest, 5900)?;
                if !address.socket.ip().is_loopback() && address.password_file.is_none() {
                    return Err("anyone who reaches this address could use the machine; add password-file=F".to_owned());
                }
                Ok(Target::Vnc(address))
            }
            "web" => {
                let address = Address::parse(rest, 8086)?;
                if !address.socket.ip().is_loopback() {
                    return Err("web pages are served to this host alone; reach it through an SSH tunnel".to_owned());
                }
                if address.password_file.is_some() {
                    return Err("web: the address that is printed holds a token; there is no password".to_owned());
                }
                Ok(Target::Web(address))
            }
            _ => Err("use none, terminal, window, vnc:ADDRESS or web:ADDRESS".to_owned()),
        }
    }
}

/// An open display.
pub enum Display {
    /// The terminal.
    Terminal(Box<TerminalDisplay>),
    /// Viewers on the network, or a window.
    Remote(remote::Remote),
}

impl Display {
    /// Opens what the user asked for; `None` if that is nothing.
    ///
    /// # Errors
    /// If the terminal, the network address or a window cannot be had.
    pub fn open(target: &Target, machine: &Machine) -> Result<Option<Self>> {
        Ok(Some(match target {
            Target::None => return Ok(None),
            #[cfg(all(feature = "window", target_os = "linux"))]
            Target::Window => Display::Remote(window::open(machine.waker())?),
            #[cfg(not(all(feature = "window", target_os = "linux")))]
            Target::Window => {
                return Err(Error::new(
                    "--display window is not in this build: build it on Linux with --features window, or use web, vnc \
                     or terminal",
                ));
            }
            Target::Terminal => Display::Terminal(Box::new(TerminalDisplay::open(machine.waker())?)),
            Target::Vnc(address) => Display::Remote(vnc::serve(address, machine.waker())?),
            Target::Web(address) => Display::Remote(web::serve(address, machine.waker())?),
        }))
    }

    /// Shows what changed and passes input on. True if the user wants to leave.
    ///
    /// # Errors
    /// If the terminal cannot be written.
    pub fn pump(&mut self, machine: &mut Machine) -> Result<bool> {
        match self {
            Display::Terminal(display) => display.pump(machine),
            Display::Remote(display) => Ok(display.pump(machine)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_addresses() {
        let socket = |text: &str| match text.parse() {
            Ok(Target::Vnc(address) | Target::Web(address)) => address.socket.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!("none".parse(), Ok(Target::None));
        assert_eq!(socket("vnc"), "127.0.0.1:5900");
        assert_eq!(socket("vnc:5901"), "127.0.0.1:5901");
        assert_eq!(socket("vnc::5901"), "127.0.0.1:5901");
        assert_eq!(socket("vnc:localhost:1"), "127.0.0.1:1");
        assert_eq!(socket("web:[::1]:80"), "[::1]:80");
        assert_eq!(socket("vnc:0.0.0.0:5900,password-file=secret"), "0.0.0.0:5900");
        for (bad, says) in [
            ("vnc:0.0.0.0:5900", "password-file"),
            ("web:0.0.0.0:80", "SSH"),
            ("vnc:here", "no port or address"),
            ("vnc:1,loud", "only option"),
            ("screen", "use none"),
            ("terminal:1", "use none"),
        ] {
            let error = bad.parse::<Target>().expect_err(bad);
            assert!(error.contains(says), "{error}");
        }
    }
}
