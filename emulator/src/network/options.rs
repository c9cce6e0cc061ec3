//! What the user says with `--net` and `--forward`.

use super::dhcp::BOOTFILE;
use super::policy::Allow;
use ring86_devices::net::MacAddress;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// The guest's address on the cable, unless the user gives another.
const MAC: MacAddress = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

/// The card in the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CardModel {
    /// RTL8029AS: an NE2000 on PCI.
    Ne2kPci,
    /// NE2000 on ISA: port 300h, interrupt 10.
    Ne2kIsa,
    /// RTL8139C+.
    #[default]
    Rtl8139,
}

/// A user-mode network with its card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserNet {
    /// The card.
    pub model: CardModel,
    /// Its address.
    pub mac: MacAddress,
    /// What the guest may reach beside the world outside.
    pub allow: Allow,
    /// Name server in place of the host's.
    pub dns: Option<SocketAddr>,
    /// Capture file.
    pub pcap: Option<PathBuf>,
    /// Folder whose files the gateway gives by TFTP.
    pub tftp: Option<PathBuf>,
    /// What DHCP tells the guest to start: a file's name, or an address that iPXE understands.
    pub bootfile: Option<String>,
    /// Ports of the host that lead into the guest.
    pub forwards: Vec<Forward>,
}

impl Default for UserNet {
    fn default() -> Self {
        let model = CardModel::default();
        UserNet {
            model,
            mac: MAC,
            allow: Allow::default(),
            dns: None,
            pcap: None,
            tftp: None,
            bootfile: None,
            forwards: Vec::new(),
        }
    }
}

/// `--net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Net {
    /// No card.
    None,
    /// A card and the user-mode network.
    User(Box<UserNet>),
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        match parts.next() {
            Some("none") if text == "none" => return Ok(Net::None),
            Some("user") => {}
            _ => return Err("use none or user[,option=value...]".to_owned()),
        }
        let mut net = UserNet::default();
        for part in parts {
            let Some((key, value)) = part.split_once('=') else {
                return Err(format!("'{part}' is no option=value"));
            };
            match key {
                "model" => net.model = parse_model(value)?,
                "mac" => net.mac = parse_mac(value)?,
                "allow" => match value {
                    "loopback" => net.allow.loopback = true,
                    "lan" => net.allow.lan = true,
                    _ => return Err(format!("allow={value}: use allow=loopback or allow=lan")),
                },
                "dns" => net.dns = Some(parse_server(value)?),
                "pcap" if !value.is_empty() => net.pcap = Some(value.into()),
                "pcap" => return Err("pcap= wants a file name".to_owned()),
                "tftp" if !value.is_empty() => net.tftp = Some(value.into()),
                "tftp" => return Err("tftp= wants a folder's name".to_owned()),
                // DHCP's field for it ends with a zero.
                "bootfile" if !value.is_empty() && value.len() < BOOTFILE => net.bootfile = Some(value.to_owned()),
                "bootfile" => return Err(format!("bootfile= wants a name of 1 to {} bytes", BOOTFILE - 1)),
                _ => {
                    return Err(format!(
                        "'{key}' is no option; there are model, mac, allow, dns, pcap, tftp and bootfile"
                    ));
                }
            }
        }
        Ok(Net::User(Box::new(net)))
    }
}

fn parse_model(text: &str) -> Result<CardModel, String> {
    match text {
        "ne2k_pci" => Ok(CardModel::Ne2kPci),
        "ne2k_isa" => Ok(CardModel::Ne2kIsa),
        "rtl8139" => Ok(CardModel::Rtl8139),
        _ => Err(format!("model={text}: use ne2k_pci, ne2k_isa or rtl8139")),
    }
}

fn parse_mac(text: &str) -> Result<MacAddress, String> {
    let bad = || format!("mac={text}: write six bytes as in 52:54:00:12:34:56, the first an even number");
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| part.len() == 2).ok_or_else(bad)?;
        *byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
    }
    // An odd first byte would be a group's address.
    if parts.next().is_some() || mac[0] & 1 != 0 { Err(bad()) } else { Ok(mac) }
}

fn parse_server(text: &str) -> Result<SocketAddr, String> {
    let plain = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
    plain.or_else(|_| text.parse()).map_err(|_| format!("dns={text}: write an address, or address:port"))
}

/// Protocol of a forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// `--forward`: a port of the host that leads into the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Protocol.
    pub protocol: Protocol,
    /// Where the host listens.
    pub listen: SocketAddr,
    /// The guest's port.
    pub guest_port: u16,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || "write tcp:HOSTPORT:GUESTPORT or tcp:ADDRESS:HOSTPORT:GUESTPORT (or udp:...)".to_owned();
        let (protocol, rest) = text.split_once(':').ok_or_else(bad)?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(bad()),
        };
        let (host, guest) = rest.rsplit_once(':').ok_or_else(bad)?;
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(bad);
        let listen = match host.parse::<SocketAddr>() {
            Ok(address) => address,
            // The host's other interfaces are the user's to name.
            Err(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port(host)?),
        };
        Ok(Forward { protocol, listen, guest_port: port(guest)? })
    }
}

impl std::fmt::Display for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.protocol, self.listen, self.guest_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        assert_eq!("none".parse(), Ok(Net::None));
        assert_eq!("user".parse(), Ok(Net::User(Box::default())));
        let text = "user,model=ne2k_isa,mac=02:00:00:00:00:0f,allow=lan,allow=loopback,dns=9.9.9.9,pcap=a.pcap";
        let Ok(Net::User(net)) = text.parse() else { panic!("{text} is right") };
        assert_eq!((net.model, net.mac), (CardModel::Ne2kIsa, [2, 0, 0, 0, 0, 15]));
        assert_eq!((net.allow.lan, net.allow.loopback), (true, true));
        assert_eq!((net.dns, net.pcap), (Some("9.9.9.9:53".parse().unwrap()), Some("a.pcap".into())));
        for bad in [
            "",
            "tap",
            "none,model=rtl8139",
            "user,",
            "user,model",
            "user,model=e1000",
            "user,mac=1",
            "user,allow=all",
            "user,mac=01:00:00:00:00:00",
            "user,mac=02:00:00:00:00:00:00",
            "user,dns=x",
            "user,pcap=",
            "user,irq=3",
        ] {
            assert!(bad.parse::<Net>().is_err(), "{bad}");
        }
    }

    #[test]
    fn forwards() {
        let forward = |text: &str| text.parse::<Forward>().map(|f| f.to_string());
        assert_eq!(forward("tcp:2222:22"), Ok("tcp:127.0.0.1:2222:22".to_owned()));
        assert_eq!(forward("udp:0.0.0.0:53:5353"), Ok("udp:0.0.0.0:53:5353".to_owned()));
        assert_eq!(forward("tcp:[::1]:80:8080"), Ok("tcp:[::1]:80:8080".to_owned()));
        for bad in ["", "tcp", "tcp:22", "tcp:22:", "tcp:0:22", "tcp:22:65536", "sctp:1:2", "tcp:host:1:2"] {
            assert!(forward(bad).is_err(), "{bad}");
        }
    }
}
