//! The client for a container's health check, since the image has no shell and no other client.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// Time to connect, and to wait for the response.
const TIME: Duration = Duration::from_secs(1);

/// Requests `/healthz` from the admin address of a running service.
///
/// # Errors
/// The service does not respond, or not with 200.
pub fn check_health(mut admin: SocketAddr) -> io::Result<()> {
    if admin.ip().is_unspecified() {
        admin.set_ip(match admin {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut stream = TcpStream::connect_timeout(&admin, TIME)?;
    stream.set_read_timeout(Some(TIME))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut status = [0; b"HTTP/1.1 200".len()];
    stream.read_exact(&mut status)?;
    if status == *b"HTTP/1.1 200" {
        Ok(())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&status)))
    }
}
