//! A libp2p node that is no gateway: of another swarm, or one that says what it likes.

use std::thread;

use futures_util::StreamExt as _;
use futures_util::io::AsyncWriteExt as _;
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, Swarm, SwarmBuilder, identify, noise, ping, tcp, yamux};
use tokio::sync::{mpsc, oneshot};

/// One that runs on a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Stranger {
    id: String,
    contact: String,
    dial: mpsc::UnboundedSender<String>,
    _stop: oneshot::Sender<()>,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
}

impl Stranger {
    /// On loopback, with this protocol version in identify, and with this card if it has one.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(version: &str, card: Option<String>) -> Self {
        let (version, key) = (version.to_owned(), Keypair::generate_ed25519());
        let id = key.public().to_peer_id().to_base58();
        let ((said, contact), (stop, stopped)) = (std::sync::mpsc::channel(), oneshot::channel());
        let (dial, dialled) = mpsc::unbounded_channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let swarm = swarm(&version, key);
                tokio::select! {
                    () = run(swarm, card, said, dialled) => {}
                    _ = stopped => {}
                }
            });
        });
        let address: Multiaddr = contact.recv().expect("a node that listens");
        Self { contact: format!("{address}/p2p/{id}"), id, dial, _stop: stop }
    }

    /// Who it is.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is, and who.
    pub fn contact(&self) -> &str {
        &self.contact
    }

    /// Connects to a gateway.
    pub fn dial(&self, contact: &str) {
        self.dial.send(contact.to_owned()).expect("a running node");
    }
}

fn swarm(version: &str, key: Keypair) -> Swarm<Behaviour> {
    let identify = identify::Config::new(version.to_owned(), key.public());
    let built = SwarmBuilder::with_existing_identity(key).with_tokio();
    let built = built.with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default);
    let behaviour = |_: &Keypair| Behaviour {
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::default(),
        streams: libp2p_stream::Behaviour::new(),
    };
    let built = built.expect("a transport").with_behaviour(behaviour).expect("a behaviour");
    built
        .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::from_secs(600)))
        .build()
}

async fn run(
    mut swarm: Swarm<Behaviour>,
    card: Option<String>,
    said: std::sync::mpsc::Sender<Multiaddr>,
    mut dialled: mpsc::UnboundedReceiver<String>,
) {
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("a free port");
    if let Some(card) = card {
        let mut control = swarm.behaviour().streams.new_control();
        let protocol = libp2p::StreamProtocol::new("/open-registry/card/1");
        let mut asked = control.accept(protocol).expect("a protocol of its own");
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Some((_, mut stream)) = asked.next().await {
                let length = u16::try_from(card.len()).expect("a short card").to_be_bytes();
                // Who asks may be gone.
                let _ = stream.write_all(&[&length, card.as_bytes()].concat()).await;
                let _ = stream.flush().await;
                open.push(stream);
            }
        });
    }
    loop {
        tokio::select! {
            event = swarm.select_next_some() => if let SwarmEvent::NewListenAddr { address, .. } = event {
                let _ = said.send(address);
            },
            Some(contact) = dialled.recv() => {
                let address: Multiaddr = contact.parse().expect("a contact");
                swarm.dial(address).expect("a gateway to dial");
            }
        }
    }
}
