//! Cards on the wire: whoever is asked says what it has to say, and again whenever that has changed, for as long as the
//! stream lasts. Each is preceded by its length in two bytes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use resolver::card::{Card, InvalidCard, LONGEST, MOST_URLS};
use resolver::peer::{PeerId, Scheme};
use resolver::proof::Authority;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::NoStream;
use super::streams::Line;

/// The longest that the first card on a stream may take; then it is asked for on another.
const FIRST: Duration = Duration::from_secs(5);
/// A peer's cards are read no faster: whoever has more to say waits.
const BETWEEN: Duration = Duration::from_millis(500);
/// The longest that a peer may take to take a card.
const TAKING: Duration = Duration::from_secs(10);

/// What was heard of a peer.
#[derive(Debug)]
pub(super) enum Heard {
    /// A card.
    Card(Card),
    /// It has none: it is no gateway, or one that cannot be understood.
    None(NotOurs),
    /// No more will come on this stream.
    End,
}

/// Why a peer is none of ours.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotOurs {
    /// It does not speak of cards.
    #[error("it is no gateway")]
    Stranger,
    /// It said nothing in time.
    #[error("it did not say who it is")]
    Silent,
    /// What it said is no card.
    #[error(transparent)]
    Invalid(InvalidCard),
}

/// Where clients are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Door {
    /// How.
    pub scheme: Scheme,
    /// Where; all addresses are one of them.
    pub address: SocketAddr,
}

/// Where a peer that packets leave for from `own` finds these doors.
pub(super) fn urls(doors: &[Door], own: IpAddr) -> Vec<String> {
    let leads = |door: &&Door| {
        let at = door.address.ip();
        let everywhere = at.is_unspecified() && at.is_ipv4() == own.is_ipv4();
        // The certificate is the zone's: it says something at the port that goes without saying alone.
        let fits = door.scheme == Scheme::Http || door.address.port() == Scheme::Https.port();
        fits && (everywhere || at == own)
    };
    let url = |door: &Door| {
        format!("{}://{}", door.scheme.name(), Authority::at(door.scheme, own, door.address.port()))
    };
    doors.iter().filter(leads).map(url).take(MOST_URLS).collect()
}

/// Says what this gateway has to say, until the peer wants to hear no more.
pub(super) async fn tell(
    line: impl AsyncRead + AsyncWrite,
    mut said: watch::Receiver<Card>,
    urls: Vec<String>,
) {
    let (mut read, mut write) = tokio::io::split(line);
    let mut nothing = [0; 1];
    loop {
        let card = Card { urls: urls.clone(), ..said.borrow_and_update().clone() };
        if !matches!(timeout(TAKING, send(&mut write, &card)).await, Ok(Ok(()))) {
            return;
        }
        tokio::select! {
            changed = said.changed() => if changed.is_err() { return },
            // Whoever hears has nothing to say: the stream has ended.
            _ = read.read(&mut nothing) => return,
        }
    }
}

async fn send(line: &mut (impl AsyncWrite + Unpin), card: &Card) -> std::io::Result<()> {
    let json = card.to_json();
    line.write_u16(u16::try_from(json.len()).unwrap_or(0)).await?;
    line.write_all(&json).await?;
    line.flush().await
}

/// Hears what a peer says, until the stream ends.
pub(super) async fn hear(
    opening: oneshot::Receiver<Result<Line, NoStream>>,
    id: PeerId,
    heard: mpsc::Sender<(PeerId, Heard)>,
) {
    let last = match timeout(FIRST, opening).await {
        Ok(Ok(Ok(line))) => listen(line, id, &heard).await,
        Ok(Ok(Err(NoStream::Refused(_)))) => (id, Heard::None(NotOurs::Stranger)),
        // The connection has ended, or it takes long.
        _ => (id, Heard::End),
    };
    // The swarm has ended when this fails.
    let _ = heard.send(last).await;
}

async fn listen(
    mut line: impl AsyncRead + Unpin,
    id: PeerId,
    heard: &mpsc::Sender<(PeerId, Heard)>,
) -> (PeerId, Heard) {
    let mut first = true;
    loop {
        let next = match first {
            true => timeout(FIRST, receive(&mut line)).await.ok(),
            false => Some(receive(&mut line).await),
        };
        match next {
            None | Some(Err(_)) => return (id, Heard::End),
            Some(Ok(Err(invalid))) => return (id, Heard::None(NotOurs::Invalid(invalid))),
            Some(Ok(Ok(card))) => {
                if heard.send((id, Heard::Card(card))).await.is_err() {
                    return (id, Heard::End);
                }
            }
        }
        first = false;
        sleep(BETWEEN).await;
    }
}

async fn receive(line: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Result<Card, InvalidCard>> {
    let length = usize::from(line.read_u16().await?);
    if length > LONGEST {
        return Ok(Err(InvalidCard::TooLong(length)));
    }
    let mut json = vec![0; length];
    line.read_exact(&mut json).await?;
    Ok(Card::parse(&json))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(sequence: u64) -> Card {
        Card { version: "0.1.0".into(), urls: Vec::new(), online: true, shares: true, sequence, home: None }
    }

    fn door(scheme: Scheme, address: &str) -> Door {
        Door { scheme, address: address.parse().unwrap() }
    }

    #[test]
    fn a_peer_is_told_the_doors_at_the_address_that_it_sees() {
        let doors = [
            door(Scheme::Http, "0.0.0.0:6736"),
            door(Scheme::Http, "[::]:6736"),
            door(Scheme::Http, "192.168.7.9:80"),
            door(Scheme::Http, "127.0.0.1:6736"),
            door(Scheme::Https, "0.0.0.0:443"),
            door(Scheme::Https, "0.0.0.0:8443"),
        ];
        let of = |own: &str| urls(&doors, own.parse().unwrap());
        assert_eq!(
            of("192.168.7.9"),
            ["http://192.168.7.9:6736", "http://192.168.7.9", "https://192.168.7.9"]
        );
        assert_eq!(of("fd00::9"), ["http://[fd00::9]:6736"]);
        assert!(urls(&doors[3..4], "192.168.7.9".parse().unwrap()).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_is_said_again() {
        let (ours, theirs) = tokio::io::duplex(8192);
        let (say, said) = watch::channel(card(1));
        tokio::spawn(tell(ours, said, vec!["http://192.168.7.9".to_owned()]));
        let (sender, mut heard) = mpsc::channel(4);
        let id = PeerId::of_key([7; 32]);
        tokio::spawn(async move { listen(theirs, id, &sender).await });
        for sequence in [1, 2] {
            say.send_replace(card(sequence));
            let Some((_, Heard::Card(card))) = heard.recv().await else { panic!("no card") };
            assert_eq!((card.sequence, card.urls.len()), (sequence, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_gone_is_told_nothing_any_more() {
        let (ours, theirs) = tokio::io::duplex(8192);
        let (_say, said) = watch::channel(card(1));
        let telling = tokio::spawn(tell(ours, said, Vec::new()));
        drop(theirs);
        timeout(TAKING, telling).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nonsense_is_none_of_ours_and_who_says_nothing_is_asked_again() {
        let id = PeerId::of_key([7; 32]);
        let last = async |said: &[u8]| {
            let (mut ours, theirs) = tokio::io::duplex(64);
            ours.write_all(said).await.unwrap();
            let (sender, _heard) = mpsc::channel(1);
            listen(theirs, id, &sender).await.1
        };
        for (said, expected) in [(&b"\x10\x01"[..], "4097"), (b"\x00\x02[]", "not to be read")] {
            let Heard::None(why) = last(said).await else { panic!("{said:?}") };
            assert!(why.to_string().contains(expected), "{why}");
        }
        for silent in [&b""[..], b"\x00\x02["] {
            assert!(matches!(last(silent).await, Heard::End));
        }
    }
}
