use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The socket of an engine on this machine, and on others as `ssh://` finds it.
const SOCKET: &str = "/var/run/docker.sock";

/// Where a Docker Engine listens, as Docker's own `DOCKER_HOST` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineAddress {
    /// `unix:///var/run/docker.sock`: an engine on this machine, which sees its files.
    Socket(PathBuf),
    /// `tcp://host:2376`, here `host:2376`. With TLS where Docker's variables ask for it.
    Tcp(String),
    /// `ssh://user@host:22/var/run/docker.sock`.
    Ssh(SshAddress),
}

/// A socket on another machine that is reached by ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshAddress {
    /// `user@host`, or a name that ssh's own configuration knows.
    pub destination: String,
    /// Where it listens, if not where ssh's configuration says.
    pub port: Option<u16>,
    /// The path of the socket there.
    pub socket: String,
}

impl EngineAddress {
    /// That of `DOCKER_HOST`, or the usual socket.
    pub fn of_environment() -> Result<Self, String> {
        match std::env::var("DOCKER_HOST") {
            Ok(host) if !host.is_empty() => host.parse().map_err(|error| format!("DOCKER_HOST: {error}")),
            _ => Ok(Self::Socket(SOCKET.into())),
        }
    }

    /// Whether it sees this machine's files.
    pub fn is_here(&self) -> bool {
        matches!(self, Self::Socket(_))
    }
}

impl FromStr for EngineAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "'{text}' is no address of an engine; expected unix://…, tcp://host:port or ssh://user@host"
            )
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(expected)?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Socket(rest.into())),
            "tcp" => {
                let rest = rest.trim_end_matches('/');
                let port = rest.rsplit_once(':').filter(|(host, _)| !host.is_empty());
                port.and_then(|(_, port)| port.parse::<u16>().ok()).ok_or_else(expected)?;
                Ok(Self::Tcp(rest.to_owned()))
            }
            "ssh" => ssh(rest).map(Self::Ssh).ok_or_else(expected),
            _ => Err(expected()),
        }
    }
}

fn ssh(rest: &str) -> Option<SshAddress> {
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    let (destination, port) = match host.rsplit_once(':') {
        Some((destination, port)) => (destination, Some(port.parse().ok()?)),
        None => (host, None),
    };
    // A minus in front would be an option to ssh.
    let is_plain =
        |part: &str| !part.is_empty() && !part.starts_with('-') && !part.contains(char::is_whitespace);
    destination.split('@').all(is_plain).then(|| SshAddress {
        destination: destination.to_owned(),
        port,
        socket: if path.is_empty() { SOCKET.to_owned() } else { format!("/{path}") },
    })
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
            Self::Ssh(SshAddress { destination, port, socket }) => {
                write!(f, "ssh://{destination}")?;
                port.iter().try_for_each(|port| write!(f, ":{port}"))?;
                if socket == SOCKET { Ok(()) } else { f.write_str(socket) }
            }
        }
    }
}

/// An engine for everything of one platform: `linux/arm64=ssh://builder`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformEngine {
    /// `linux/arm64`.
    pub platform: String,
    /// The engine.
    pub address: EngineAddress,
}

impl FromStr for PlatformEngine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("'{text}' names no engine; expected PLATFORM=ADDRESS as linux/arm64=ssh://builder");
        let (platform, address) = text.trim().split_once('=').ok_or_else(expected)?;
        if !platform.contains('/') || platform.contains(char::is_whitespace) {
            return Err(expected());
        }
        Ok(Self { platform: platform.to_owned(), address: address.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_was_read() {
        for text in [
            "unix:///run/user/0/docker.sock",
            "tcp://builder:2376",
            "tcp://[::1]:2375",
            "ssh://builder",
            "ssh://root@builder:2222",
            "ssh://root@builder:2222/run/docker.sock",
        ] {
            let address: EngineAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_here(), text.starts_with("unix"));
        }
        let EngineAddress::Ssh(ssh) = "ssh://a@b:7".parse().unwrap() else { panic!() };
        assert_eq!((ssh.destination.as_str(), ssh.port, ssh.socket.as_str()), ("a@b", Some(7), SOCKET));
    }

    #[test]
    fn what_is_no_address_is_told() {
        for text in [
            "",
            "builder",
            "http://builder:2375",
            "tcp://builder",
            "tcp://:2375",
            "tcp://builder:x",
            "unix://x",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://a@-b",
            "ssh://a b",
            "ssh://b:port",
        ] {
            let error = text.parse::<EngineAddress>().unwrap_err();
            assert!(error.contains("expected unix://…"), "{text}: {error}");
        }
    }

    #[test]
    fn an_engine_has_a_platform() {
        let engine: PlatformEngine = "linux/arm64=tcp://builder:2375".parse().unwrap();
        assert_eq!(
            (engine.platform.as_str(), engine.address.to_string().as_str()),
            ("linux/arm64", "tcp://builder:2375")
        );
        for text in ["", "linux/arm64", "arm64=ssh://builder", "ssh://builder", "=ssh://builder"] {
            assert!(
                text.parse::<PlatformEngine>().unwrap_err().contains("expected PLATFORM=ADDRESS"),
                "{text}"
            );
        }
        assert!("linux/arm64=builder".parse::<PlatformEngine>().unwrap_err().contains("expected unix://…"));
    }
}
