//! One socket for datagrams, whose answers leave from the address that was asked.
//!
//! A socket that is bound to all addresses would otherwise answer from whichever the kernel likes best, and the
//! client throw that away. So the kernel is asked with each datagram where it was sent (IP_PKTINFO, RFC 3542), and by
//! which interface it came in.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg,
    sendmsg, setsockopt, sockopt,
};
use resolver::links::{Arrival, By};
use socket2::{Domain, Protocol, Socket, Type};

/// Room for queries that wait in the kernel while this program is busy; it gives as much as `net.core.rmem_max` allows.
const QUEUE_BYTES: usize = 4 << 20;

/// One socket for queries.
#[derive(Debug)]
pub(super) struct Datagrams {
    socket: UdpSocket,
    /// It is bound to one address: answers leave from there anyway.
    one_address: bool,
}

/// Where a datagram came from and where it was sent to, as the kernel said it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Envelope {
    client: SockaddrStorage,
    to: Option<PacketInfo>,
}

/// Datagrams that are taken from the kernel and given to it in one call. More would keep the first waiting for its
/// answer.
pub(super) const BATCH: usize = 16;
/// A query with all that EDNS may add. What is longer is dropped.
const LARGEST_QUERY: usize = 4096;

/// Datagrams that came together, and what the kernel needs to be told of them and of their answers.
pub(super) struct Batch {
    queries: Box<[[u8; LARGEST_QUERY]; BATCH]>,
    /// Of each query its length and where it came from; without that, it is none.
    taken: Vec<(usize, Option<Envelope>)>,
    incoming: MultiHeaders<SockaddrStorage>,
    outgoing: MultiHeaders<SockaddrStorage>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            queries: Box::new([[0; LARGEST_QUERY]; BATCH]),
            taken: Vec::with_capacity(BATCH),
            incoming: incoming(),
            outgoing: MultiHeaders::preallocate(BATCH, None),
        }
    }

    /// How many datagrams came.
    pub(super) fn len(&self) -> usize {
        self.taken.len()
    }

    /// One of them; `None`: it was too long, or came from nowhere.
    pub(super) fn query(&self, place: usize) -> Option<(&[u8], Envelope)> {
        let (length, envelope) = *self.taken.get(place)?;
        Some((self.queries.get(place)?.get(..length)?, envelope?))
    }
}

fn incoming() -> MultiHeaders<SockaddrStorage> {
    MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(libc::in6_pktinfo)))
}

#[derive(Debug, Clone, Copy)]
enum PacketInfo {
    V4(libc::in_pktinfo),
    V6(libc::in6_pktinfo),
}

impl Datagrams {
    /// A socket of our own, beside others of ours at the same address: the kernel gives each client one of them.
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_port(true)?;
        // With less of it a burst loses more.
        let _ = socket.set_recv_buffer_size(QUEUE_BYTES);
        socket.bind(&address.into())?;
        Self::adopt(socket.into())
    }

    /// A socket that somebody else has bound.
    pub(super) fn adopt(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(false)?;
        let address = socket.local_addr()?;
        if address.is_ipv6() {
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        Ok(Self { socket, one_address: !address.ip().is_unspecified() })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// How long [`Datagrams::receive`] waits.
    pub(super) fn set_wait(&self, wait: Duration) -> io::Result<()> {
        self.socket.set_read_timeout(Some(wait))
    }

    /// Ends all waiting, now and from now on. What has arrived can still be received. Not for a socket that others have
    /// too: it is the socket's end for them as well.
    pub(super) fn wake(&self) {
        // A socket without a peer is "not connected", and woken all the same (Linux, inet_shutdown).
        let _ = nix::sys::socket::shutdown(self.socket.as_raw_fd(), nix::sys::socket::Shutdown::Read);
    }

    /// Takes what has come into `batch`: one datagram, for which it waits if it is to, and more if they are there.
    /// `WouldBlock`: none came.
    pub(super) fn receive(&self, batch: &mut Batch, waits: bool) -> io::Result<()> {
        batch.taken.clear();
        let flags = if waits { MsgFlags::MSG_WAITFORONE } else { MsgFlags::MSG_DONTWAIT };
        let mut parts = batch.queries.each_mut().map(|query| [IoSliceMut::new(query)]);
        let messages = recvmmsg(self.socket.as_raw_fd(), &mut batch.incoming, parts.iter_mut(), flags, None)?;
        let mut is_spent = false;
        for message in messages {
            let to = message.cmsgs().ok().and_then(|mut parts| parts.find_map(|part| PacketInfo::of(&part)));
            is_spent |= to.is_none();
            let whole = !message.flags.contains(MsgFlags::MSG_TRUNC);
            let client = message.address.filter(|_| whole);
            let envelope = client.map(|client| Envelope { client, to });
            batch.taken.push((message.bytes, envelope));
        }
        if is_spent {
            // The kernel has written down how little room there was for what it did not say.
            batch.incoming = incoming();
        }
        Ok(())
    }

    /// Sends answers, as many as a batch has at most; how many of the first of them have been sent.
    pub(super) fn send_all(&self, batch: &mut Batch, answers: &[(Vec<u8>, Envelope)]) -> usize {
        let count = answers.len().min(BATCH);
        // What else is said with a datagram is the same for all of them, and each is from another address.
        if !self.one_address || count == 0 {
            return 0;
        }
        let parts: [[IoSlice<'_>; 1]; BATCH] = std::array::from_fn(|place| {
            [IoSlice::new(answers.get(place).map_or(&[], |(answer, _)| answer.as_slice()))]
        });
        let clients: [Option<SockaddrStorage>; BATCH] =
            std::array::from_fn(|place| answers.get(place).map(|(_, envelope)| envelope.client));
        let (descriptor, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        sendmmsg(descriptor, &mut batch.outgoing, &parts[..count], &clients[..count], [], flags)
            .map_or(0, Iterator::count)
    }

    /// Sends an answer back. `WouldBlock`: there is no room on its way out.
    pub(super) fn send(&self, answer: &[u8], envelope: &Envelope) -> io::Result<()> {
        let parts = [IoSlice::new(answer)];
        let descriptor = self.socket.as_raw_fd();
        let send = |from: &[ControlMessage<'_>]| {
            sendmsg(descriptor, &parts, from, MsgFlags::MSG_DONTWAIT, Some(&envelope.client))
        };
        let sent = match envelope.to.filter(|_| !self.one_address).map(PacketInfo::back) {
            Some(PacketInfo::V4(info)) => send(&[ControlMessage::Ipv4PacketInfo(&info)]),
            Some(PacketInfo::V6(info)) => send(&[ControlMessage::Ipv6PacketInfo(&info)]),
            None => send(&[]),
        };
        Ok(sent.map(drop)?)
    }

    /// Waits until there may be room to send.
    pub(super) fn wait_for_room(&self, most: Duration) -> io::Result<()> {
        let mut waiting = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        let most = PollTimeout::try_from(most).unwrap_or(PollTimeout::ZERO);
        Ok(poll(&mut waiting, most).map(drop)?)
    }
}

impl Envelope {
    /// `None` where the kernel did not say to which address it came.
    pub(super) fn arrival(&self) -> Option<Arrival> {
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
