use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// A port of the loop-back interface that stays ours while nobody listens on it.
///
/// A socket is bound to it and does not listen. So connections to it are refused, nobody who asks for any free port
/// gets it, and who asks for it by name, with the option to use addresses again as servers do, may listen.
#[derive(Debug)]
pub(super) struct ReservedPort {
    number: u16,
    _holder: Socket,
}

impl ReservedPort {
    /// A port nobody has.
    pub(super) fn new() -> io::Result<ReservedPort> {
        let holder = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        holder.set_reuse_address(true)?;
        holder.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = holder.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(ReservedPort { number: address.port(), _holder: holder })
    }

    /// Its number.
    pub(super) fn number(&self) -> u16 {
        self.number
    }

    /// Listens on it.
    pub(super) fn listen(&self) -> io::Result<TcpListener> {
        TcpListener::bind((Ipv4Addr::LOCALHOST, self.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn it_refuses_until_it_is_listened_on_and_after_that() {
        let port = ReservedPort::new().expect("a port");
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port.number())).map(drop).map_err(|e| e.kind());
        for _ in 0..3 {
            assert_eq!(connect(), Err(io::ErrorKind::ConnectionRefused));
            let listener = port.listen().expect("it is ours");
            assert_eq!(connect(), Ok(()));
            listener.accept().expect("a connection");
        }
        assert_eq!(connect(), Err(io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn nobody_gets_it_by_chance() {
        let port = ReservedPort::new().expect("a port");
        // A part of all ports; a port that was merely free comes in some of the rounds.
        for _ in 0..300 {
            let others: Vec<_> =
                std::iter::repeat_with(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).take(300).flatten().collect();
            assert!(others.len() > 100, "{}", others.len());
            let got = |other: &TcpListener| other.local_addr().expect("an address").port();
            assert!(others.iter().all(|other| got(other) != port.number()));
        }
    }
}
