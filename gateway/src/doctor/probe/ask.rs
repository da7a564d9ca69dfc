//! One DNS server, asked what it says of the name, by UDP and where that is too small by TCP (RFC 1035, 7766).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use url::Url;

use super::super::facts::{Answer, Asked};

/// Two attempts, for a packet may be lost.
const ATTEMPTS: usize = 2;
/// For each attempt. A resolver on the same network answers what it holds in a millisecond, and what it has to look
/// up in some hundred.
const WAIT: Duration = Duration::from_secs(1);
/// For a connection, the question and the answer.
const TCP_WAIT: Duration = Duration::from_secs(2);
/// What a datagram can hold.
const LARGEST: usize = 65_535;
/// The name that servers describe themselves under, in class CH.
const SELF: &str = "version.bind.";

/// What all servers are asked for.
pub(super) struct Names {
    zone: Name,
    /// A name that is not the zone's.
    other: Option<Name>,
}

impl Names {
    /// The zone's name, and upstream's host, where that is a name.
    pub(super) fn new(zone: &str, upstream: &Url) -> anyhow::Result<Self> {
        let name = |text: &str| Name::from_ascii(format!("{text}."));
        let zone = name(zone)?;
        let other = upstream.domain().and_then(|host| name(host).ok()).filter(|other| !zone.zone_of(other));
        Ok(Self { zone, other })
    }
}

/// Asks a server for both families, and who it is.
pub(super) async fn ask(server: SocketAddr, origin: String, names: &Names) -> Asked {
    let question = |kind| Query::query(names.zone.clone(), kind);
    let (a, aaaa, software, other) = tokio::join!(
        addresses(server, question(RecordType::A), false),
        addresses(server, question(RecordType::AAAA), false),
        software(server),
        another(server, names.other.clone()),
    );
    let unchecked = match (&a, &aaaa) {
        (Answer::ServerFailure, _) => Some(addresses(server, question(RecordType::A), true).await),
        (_, Answer::ServerFailure) => Some(addresses(server, question(RecordType::AAAA), true).await),
        _ => None,
    };
    Asked { server, origin, software, a, aaaa, unchecked, other }
}

async fn another(server: SocketAddr, name: Option<Name>) -> Option<Answer> {
    Some(addresses(server, Query::query(name?, RecordType::A), false).await)
}

async fn addresses(server: SocketAddr, question: Query, checking_disabled: bool) -> Answer {
    let answer = match exchange(server, question, checking_disabled).await {
        Ok(answer) => answer,
        Err(error) => return Answer::Silence(words(&error)),
    };
    match answer.metadata.response_code {
        ResponseCode::NoError => {
            Answer::Addresses(answer.answers.iter().filter_map(|one| ip(&one.data)).collect())
        }
        ResponseCode::NXDomain => Answer::NoSuchName,
        ResponseCode::ServFail => Answer::ServerFailure,
        ResponseCode::Refused => Answer::Refused,
        code => Answer::Code(format!("{code:?}").to_uppercase()),
    }
}

fn ip(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    }
}

async fn software(server: SocketAddr) -> Option<String> {
    let mut question = Query::query(Name::from_ascii(SELF).ok()?, RecordType::TXT);
    question.set_query_class(DNSClass::CH);
    let answer = exchange(server, question, false).await.ok()?;
    answer.answers.iter().find_map(|record| match &record.data {
        RData::TXT(text) => text.txt_data.first().map(|text| String::from_utf8_lossy(text).into_owned()),
        _ => None,
    })
}

async fn exchange(server: SocketAddr, question: Query, checking_disabled: bool) -> io::Result<Message> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = checking_disabled;
    message.add_query(question);
    let packet = message.to_vec().map_err(io::Error::other)?;
    let mut outcome = Err(io::ErrorKind::TimedOut.into());
    for _ in 0..ATTEMPTS {
        outcome = timeout(WAIT, by_udp(server, &packet, &message)).await.unwrap_or(outcome);
        if outcome.is_ok() {
            break;
        }
    }
    match outcome {
        Ok(answer) if answer.metadata.truncation => {
            timeout(TCP_WAIT, by_tcp(server, &packet, &message)).await.unwrap_or(Ok(answer))
        }
        outcome => outcome,
    }
}

async fn by_udp(server: SocketAddr, packet: &[u8], asked: &Message) -> io::Result<Message> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(packet).await?;
    let mut buffer = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What is not the answer to this question is nobody's business here.
        if let Some(answer) = answer_to(asked, &buffer[..length]) {
            return Ok(answer);
        }
    }
}

async fn by_tcp(server: SocketAddr, packet: &[u8], asked: &Message) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), packet].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    answer_to(asked, &answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn answer_to(asked: &Message, packet: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(packet).ok()?;
    let same = answer.metadata.id == asked.metadata.id;
    let questions = answer.queries.is_empty() || answer.queries == asked.queries;
    (same && questions).then_some(answer)
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut => "no answer in time".into(),
        io::ErrorKind::ConnectionRefused => "nobody listens there".into(),
        _ => error.to_string(),
    }
}
