//! Where a target is. A guest never names an address, so all that it can reach is what is read here.

/// `[scheme://]host[:port][/]`, as far as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub scheme: Option<String>,
    /// Without brackets.
    pub host: String,
    pub port: Option<u16>,
}

impl Place {
    pub fn port_or_default(&self) -> Option<u16> {
        self.port.or(match self.scheme.as_deref() {
            Some("https") => Some(443),
            Some("http") => Some(80),
            _ => None,
        })
    }
}

/// # Errors
/// With what is wrong, for the writer of the record.
pub fn parse(address: &str) -> Result<Place, String> {
    let wrong = || format!("the target's address {address:?} is not [scheme://]host[:port]");
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
        None => (None, address),
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or_else(wrong)?;
            let port = match after {
                "" => None,
                after => Some(after.strip_prefix(':').ok_or_else(wrong)?),
            };
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:%".contains(c);
    let scheme_plain = scheme.as_deref().is_none_or(|scheme| {
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    if host.is_empty() || !host.chars().all(plain) || !scheme_plain {
        return Err(wrong());
    }
    let port = match port {
        None => None,
        Some(port) => Some(
            port.parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(wrong)?,
        ),
    };
    Ok(Place {
        scheme,
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        let read = |address: &str| match parse(address) {
            Ok(place) => format!(
                "{} {} {:?}",
                place.scheme.clone().unwrap_or_default(),
                place.host,
                place.port_or_default()
            ),
            Err(_) => "refused".to_owned(),
        };
        for (address, want) in [
            ("https://bmc.example", "https bmc.example Some(443)"),
            ("HTTP://10.0.0.1:8080/", "http 10.0.0.1 Some(8080)"),
            ("10.0.0.1:502", " 10.0.0.1 Some(502)"),
            ("host", " host None"),
            ("[fe80::1%eth0]:22", " fe80::1%eth0 Some(22)"),
            ("https://[::1]", "https ::1 Some(443)"),
            ("", "refused"),
            ("https://user@host", "refused"),
            ("https://host/path", "refused"),
            ("host:0", "refused"),
            ("host:65536", "refused"),
            ("a:b:c", "refused"),
            ("[::1", "refused"),
            ("any text", "refused"),
        ] {
            assert_eq!(read(address), want, "{address}");
        }
    }
}
