//! Queries in datagrams: each is answered from the address that it was sent to.
//!
//! A socket that is bound to all addresses would otherwise answer from whichever the kernel likes best, and the
//! client throw that away. So the kernel is asked with each datagram where it was sent (IP_PKTINFO, RFC 3542).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use resolver::links::{Arrival, By};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::Backend;
use super::message::Transport;
use super::responder::Reaction;

/// A query with all that EDNS may add. What is longer is dropped.
const LARGEST_QUERY: usize = 4096;
/// Room for queries that wait in the kernel while this program is busy; it gives as much as `net.core.rmem_max` allows.
const QUEUE_BYTES: usize = 4 << 20;
/// Datagrams that are answered before the socket's turn is over.
const BURST: usize = 64;
/// After a failed read, so that the loop does not spin.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest that an answer waits for room on its way out: the others wait for it.
const SEND_WAIT: Duration = Duration::from_millis(100);
/// At the end what has arrived is answered, but not for ever: whoever comes after us has the socket too.
const LAST_BURSTS: usize = 256;

/// One socket for queries.
pub(super) struct Datagrams {
    socket: UdpSocket,
}

/// Where a datagram came from and where it was sent to, as the kernel said it.
#[derive(Debug, Clone, Copy)]
struct Envelope {
    client: SockaddrStorage,
    to: Option<PacketInfo>,
}

/// Whether datagrams are waiting.
enum More {
    Perhaps,
    No,
}

#[derive(Debug, Clone, Copy)]
enum PacketInfo {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

impl Datagrams {
    /// A socket of our own.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // With less of it a burst loses more.
        let _ = socket.set_recv_buffer_size(QUEUE_BYTES);
        socket.bind(&address.into())?;
        Self::adopt(socket.into())
    }

    /// A socket that somebody else has bound.
    pub(super) fn adopt(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        if socket.local_addr()?.is_ipv6() {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        Ok(Self { socket: UdpSocket::from_std(socket)? })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until `stop`, and then what has arrived by then.
    pub(super) async fn serve(self: Arc<Self>, backend: Arc<Backend>, stop: CancellationToken) {
        let pulse = backend.pulse("dns", &self.address());
        let mut buffer = vec![0; LARGEST_QUERY];
        while let Some(readable) = stop.run_until_cancelled(pulse.during(self.socket.readable())).await {
            let answered = match readable {
                Ok(()) => pulse.during(self.answer_some(&mut buffer, &backend)).await,
                Err(error) => Err(error),
            };
            if let Err(error) = answered {
                tracing::warn!(%error, "cannot receive DNS queries");
                tokio::time::sleep(PAUSE).await;
            }
        }
        for _ in 0..LAST_BURSTS {
            if !matches!(self.answer_some(&mut buffer, &backend).await, Ok(More::Perhaps)) {
                break;
            }
        }
    }

    async fn answer_some(self: &Arc<Self>, buffer: &mut [u8], backend: &Arc<Backend>) -> io::Result<More> {
        for _ in 0..BURST {
            match self.receive(buffer) {
                Ok((length, envelope)) => self.answer(&buffer[..length], envelope, backend).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(More::No),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                Err(error) => return Err(error),
            }
        }
        Ok(More::Perhaps)
    }

    async fn answer(self: &Arc<Self>, packet: &[u8], envelope: Envelope, backend: &Arc<Backend>) {
        let Some(arrival) = envelope.arrival() else {
            return;
        };
        match backend.responder.react(packet, &arrival, Transport::Udp) {
            Reaction::Answer(answer) => self.send(&answer, &envelope).await,
            Reaction::LookUp(request) => {
                let (socket, backend) = (Arc::clone(self), Arc::clone(backend));
                let answering = backend.clone().look_up(*request, arrival.client);
                backend.tasks.spawn(async move {
                    if let Some(answer) = answering.await {
                        socket.send(&answer, &envelope).await;
                    }
                });
            }
            Reaction::Silence => {}
        }
    }

    /// The next datagram. `InvalidData`: it was too long, or came from nowhere.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Envelope)> {
        self.socket.try_io(Interest::READABLE, || {
            let mut space = nix::cmsg_space!(libc::in6_pktinfo);
            let mut parts = [IoSliceMut::new(buffer)];
            let descriptor = self.socket.as_raw_fd();
            let flags = MsgFlags::MSG_DONTWAIT;
            let message = recvmsg::<SockaddrStorage>(descriptor, &mut parts, Some(&mut space), flags)?;
            let whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
            let client = message.address.filter(|_| whole).ok_or(io::ErrorKind::InvalidData)?;
            let to = message.cmsgs()?.find_map(|part| PacketInfo::of(&part));
            Ok((message.bytes, Envelope { client, to }))
        })
    }

    /// Sends an answer back. One that cannot be sent is lost, as datagrams are: its client asks again.
    async fn send(&self, answer: &[u8], envelope: &Envelope) {
        let sending = async {
            loop {
                match self.try_send(answer, envelope) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.socket.writable().await?,
                    ended => return ended,
                }
            }
        };
        match tokio::time::timeout(SEND_WAIT, sending).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cannot send a DNS answer"),
            Err(_) => tracing::debug!("no room to send a DNS answer"),
        }
    }

    fn try_send(&self, answer: &[u8], envelope: &Envelope) -> io::Result<usize> {
        self.socket.try_io(Interest::WRITABLE, || {
            let parts = [IoSlice::new(answer)];
            let descriptor = self.socket.as_raw_fd();
            let send = |from: &[ControlMessage<'_>]| {
                sendmsg(descriptor, &parts, from, MsgFlags::MSG_DONTWAIT, Some(&envelope.client))
            };
            let sent = match envelope.to.map(PacketInfo::back) {
                Some(PacketInfo::V4(info)) => send(&[ControlMessage::Ipv4PacketInfo(&info)]),
                Some(PacketInfo::V6(info)) => send(&[ControlMessage::Ipv6PacketInfo(&info)]),
                None => send(&[]),
            };
            Ok(sent?)
        })
    }
}

impl Envelope {
    /// `None` where the kernel did not say to which address it came.
    fn arrival(&self) -> Option<Arrival> {
        let v4 = self.client.as_sockaddr_in().map(|client| IpAddr::V4(client.ip()));
        let client = v4.or_else(|| self.client.as_sockaddr_in6().map(|client| IpAddr::V6(client.ip())))?;
        let (local, interface) = self.to?.parts();
        let (client, local) = (client.to_canonical(), local.to_canonical());
        Some(Arrival { client, local, by: By::Number(interface) })
    }
}

impl PacketInfo {
    fn of(message: &ControlMessageOwned) -> Option<Self> {
        match message {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(Self::V4(*info)),
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(Self::V6(*info)),
            _ => None,
        }
    }

    /// The same address for an answer, by whichever interface leads to the client: only an address that means
    /// nothing without its link is bound to it.
    fn back(self) -> Self {
        match self {
            Self::V4(info) => Self::V4(libc::in_pktinfo { ipi_ifindex: 0, ..info }),
            Self::V6(info) if is_link_local(&info) => Self::V6(info),
            Self::V6(info) => Self::V6(libc::in6_pktinfo { ipi6_ifindex: 0, ..info }),
        }
    }

    /// Our address, and the interface.
    fn parts(self) -> (IpAddr, u32) {
        match self {
            Self::V4(info) => {
                let address = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
                (IpAddr::V4(address), u32::try_from(info.ipi_ifindex).unwrap_or_default())
            }
            Self::V6(info) => (IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)), info.ipi6_ifindex),
        }
    }
}

fn is_link_local(info: &libc::in6_pktinfo) -> bool {
    Ipv6Addr::from(info.ipi6_addr.s6_addr).is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, Query};
    use hickory_proto::rr::{Name, RecordType};
    use resolver::answer::Facts;
    use tokio_util::task::TaskTracker;

    use super::super::places::Places;
    use super::super::responder::Responder;
    use super::*;
    use crate::metrics::Metrics;
    use crate::pulse::Pulses;

    /// A backend that knows nothing of this machine.
    fn backend() -> Arc<Backend> {
        let zone = "registry.example.com".parse().unwrap();
        let responder = Responder::new(zone, Vec::new(), Facts::default(), Arc::new(Metrics::new()));
        Arc::new(Backend {
            responder,
            forwarder: None,
            places: Places::default(),
            tasks: TaskTracker::new(),
            pulses: Pulses::new(),
        })
    }

    /// What a client hears that asks at `address`, and listens to nobody else.
    async fn ask(address: SocketAddr) -> Vec<IpAddr> {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.connect(address).await.unwrap();
        let mut question = Message::query();
        let name = Name::from_ascii("registry.example.com.").unwrap();
        question.add_query(Query::query(name, RecordType::A));
        client.send(&question.to_vec().unwrap()).await.unwrap();
        let mut answer = vec![0; 512];
        let length = tokio::time::timeout(Duration::from_secs(10), client.recv(&mut answer)).await;
        let answer = Message::from_vec(&answer[..length.expect("an answer").unwrap()]).unwrap();
        answer.answers.iter().filter_map(|record| record.data.ip_addr()).collect()
    }

    #[tokio::test]
    async fn a_socket_for_all_addresses_answers_from_the_one_that_was_asked() {
        let both_families = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        both_families.set_only_v6(false).unwrap();
        both_families.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        for socket in [std::net::UdpSocket::bind("0.0.0.0:0").unwrap(), both_families.into()] {
            let datagrams = Arc::new(Datagrams::adopt(socket).unwrap());
            let port = datagrams.address().unwrap().port();
            let stop = CancellationToken::new();
            let serving = tokio::spawn(datagrams.serve(backend(), stop.clone()));
            for address in ["127.0.0.1", "127.0.0.2", "127.1.2.3"] {
                let address: IpAddr = address.parse().unwrap();
                assert_eq!(ask(SocketAddr::new(address, port)).await, [address]);
            }
            stop.cancel();
            serving.await.unwrap();
        }
    }
}
