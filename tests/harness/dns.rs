//! A client for DNS that shows packets as they are.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use socket2::{Domain, Socket, Type};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A question for this name (with a dot at its end) and type.
pub fn question(name: &str, record: &str) -> Message {
    let record: RecordType = record.parse().expect("a record type");
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).expect("a name"), record));
    message
}

/// What `server` says to a question by UDP; the answer has to come from where it was asked.
pub fn ask(server: SocketAddr, question: &Message) -> Message {
    try_ask(server, question, PATIENCE).unwrap_or_else(|| panic!("{server} does not answer"))
}

/// The same; `None` when there is no answer in time.
pub fn try_ask(server: SocketAddr, question: &Message, within: Duration) -> Option<Message> {
    let answer = exchange(server, &question.to_vec().expect("a message"), within)?;
    Some(Message::from_vec(&answer).expect("the answer is a message"))
}

/// What comes back for these bytes by UDP.
pub fn exchange(server: SocketAddr, bytes: &[u8], within: Duration) -> Option<Vec<u8>> {
    let anywhere: SocketAddr =
        if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().expect("an address");
    let socket = UdpSocket::bind(anywhere).expect("a socket");
    // A connected socket hears nobody else.
    socket.connect(server).expect("a route to the server");
    socket.set_read_timeout(Some(within)).expect("a time limit");
    socket.send(bytes).ok()?;
    let mut answer = vec![0; 65535];
    let length = socket.recv(&mut answer).ok()?;
    answer.truncate(length);
    Some(answer)
}

/// A connection to a DNS server, plain or with TLS.
#[derive(Debug)]
pub struct Connection<S = TcpStream>(S);

impl Connection {
    /// Connects.
    pub fn open(server: SocketAddr) -> Self {
        let anywhere =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        Self::made(Self::socket(server, anywhere), server)
    }

    /// Connects from an address of this machine.
    pub fn from(own: IpAddr, server: SocketAddr) -> Self {
        Self::made(Self::socket(server, own), server)
    }

    /// Connects, with next to no room for answers that are not read.
    pub fn deaf(server: SocketAddr) -> Self {
        let socket = Self::socket(server, Ipv4Addr::UNSPECIFIED.into());
        socket.set_recv_buffer_size(1).expect("as little as the kernel gives");
        Self::made(socket, server)
    }

    fn socket(server: SocketAddr, own: IpAddr) -> Socket {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(own, 0).into()).expect("an address of this machine");
        socket
    }

    fn made(socket: Socket, server: SocketAddr) -> Self {
        socket.connect_timeout(&server.into(), PATIENCE).expect("a connection");
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        Self(stream)
    }

    /// Sends until the other end takes no more for so long, or has taken so many; says how many it took.
    pub fn send_until_full(&mut self, question: &Message, most: usize, within: Duration) -> usize {
        self.0.set_write_timeout(Some(within)).expect("a time limit");
        let bytes = question.to_vec().expect("a message");
        let length = u16::try_from(bytes.len()).expect("a short message");
        let framed = [&length.to_be_bytes()[..], &bytes].concat();
        (0..most).take_while(|_| self.0.write_all(&framed).is_ok()).count()
    }

    /// Speaks TLS from now on, to a server that has to be `name`; the handshake comes with the first question.
    pub fn secure(
        self,
        mut config: ClientConfig,
        name: &str,
    ) -> Connection<StreamOwned<ClientConnection, TcpStream>> {
        config.alpn_protocols = vec![b"dot".to_vec()];
        let name = name.to_owned().try_into().expect("a server's name");
        let session = ClientConnection::new(Arc::new(config), name).expect("a client's configuration");
        Connection(StreamOwned::new(session, self.0))
    }
}

impl<S: Read + Write> Connection<S> {
    /// Sends a question.
    pub fn send(&mut self, question: &Message) {
        let bytes = question.to_vec().expect("a message");
        let length = u16::try_from(bytes.len()).expect("a short message");
        self.send_bytes(&[&length.to_be_bytes()[..], &bytes].concat());
    }

    /// Sends anything.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the connection takes bytes");
    }

    /// The next answer; `None`: the connection has been closed.
    pub fn receive(&mut self) -> Option<Message> {
        let mut length = [0; 2];
        self.0.read_exact(&mut length).ok()?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut answer).ok()?;
        Some(Message::from_vec(&answer).expect("the answer is a message"))
    }
}

/// The addresses in an answer, in its order.
pub fn addresses(answer: &Message) -> Vec<String> {
    answer.answers.iter().filter_map(|record| record.data.ip_addr()).map(|ip| ip.to_string()).collect()
}
