//! The node itself: its connections, and what runs on them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::io::AsyncWriteExt as _;
use libp2p::gossipsub::{self, IdentTopic, MessageAuthenticity, MessageId, ValidationMode};
use libp2p::identity::Keypair;
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identify, noise, ping, tcp, yamux};
use libp2p_stream::{Control, IncomingStreams};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::conduct::{self, Conduct};
use super::{Guise, Notes, inventory};

/// How long one that comes and goes stays, and is away.
const STAY: Duration = Duration::from_secs(1);

/// What it is told to do.
#[derive(Debug)]
pub(super) enum Order {
    Dial(String),
    Subscribe(String),
    Say(String, Vec<u8>),
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    streams: libp2p_stream::Behaviour,
    gossip: gossipsub::Behaviour,
}

struct Node {
    swarm: Swarm<Behaviour>,
    guise: Arc<Guise>,
    notes: Arc<Notes>,
    /// Who is told what it holds.
    telling: BTreeMap<PeerId, AbortOnDropHandle<()>>,
    dialled: Vec<Multiaddr>,
    turn: Instant,
}

pub(super) async fn run(
    key: Keypair,
    guise: Guise,
    notes: Arc<Notes>,
    said: std::sync::mpsc::Sender<Multiaddr>,
    mut ordered: mpsc::UnboundedReceiver<Order>,
) {
    let (swarm, guise) = (swarm(&guise.version, key), Arc::new(guise));
    let turn = Instant::now() + STAY;
    let mut node = Node { swarm, guise, notes, telling: BTreeMap::new(), dialled: Vec::new(), turn };
    node.serve();
    node.swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("a free port");
    let flaps = node.guise.conduct == Conduct::Flapping;
    loop {
        tokio::select! {
            event = node.swarm.select_next_some() => match event {
                SwarmEvent::NewListenAddr { address, .. } => _ = said.send(address),
                event => node.on_event(&event),
            },
            Some(order) = ordered.recv() => node.obey(order),
            () = sleep_until(node.turn), if flaps => node.come_or_go(),
        }
    }
}

fn swarm(version: &str, key: Keypair) -> Swarm<Behaviour> {
    let identify = identify::Config::new(version.to_owned(), key.public());
    let gossip = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix("/open-registry/meshsub")
        .max_transmit_size(128 * 1024)
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message| MessageId::new(&Sha256::digest(&message.data)))
        .build();
    let gossip =
        gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, gossip.expect("settings that agree"));
    let gossip = gossip.expect("settings that agree");
    let built = SwarmBuilder::with_existing_identity(key).with_tokio();
    let built =
        built.with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default);
    let behaviour = |_: &Keypair| Behaviour {
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::default(),
        streams: libp2p_stream::Behaviour::new(),
        gossip,
    };
    let built = built.expect("a transport").with_behaviour(behaviour).expect("a behaviour");
    built.with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600))).build()
}

impl Node {
    /// Takes the streams that a gateway opens. Who has no card takes none.
    fn serve(&mut self) {
        let Some(card) = self.guise.card.clone() else { return };
        tokio::spawn(tell_card(self.accept("/open-registry/card/1"), card));
        tokio::spawn(inventory::hear(self.accept(inventory::PROTOCOL), Arc::clone(&self.notes)));
        let (guise, notes) = (Arc::clone(&self.guise), Arc::clone(&self.notes));
        tokio::spawn(conduct::serve(self.accept("/open-registry/http/1"), guise, notes));
    }

    fn accept(&mut self, protocol: &'static str) -> IncomingStreams {
        self.control().accept(StreamProtocol::new(protocol)).expect("a protocol of its own")
    }

    fn control(&self) -> Control {
        self.swarm.behaviour().streams.new_control()
    }

    fn on_event(&mut self, event: &SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, num_established, .. }
                if num_established.get() == 1 && !self.guise.contents.is_empty() =>
            {
                let telling = inventory::tell(self.control(), *peer_id, Arc::clone(&self.guise));
                self.telling.insert(*peer_id, AbortOnDropHandle::new(tokio::spawn(telling)));
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.telling.remove(peer_id);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed { .. })) => {
                *self.notes.subscribed() += 1;
            }
            _ => {}
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Dial(contact) => {
                let address: Multiaddr = contact.parse().expect("a contact");
                self.dialled.push(address.clone());
                self.swarm.dial(address).expect("a gateway to dial");
            }
            Order::Subscribe(topic) => {
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.subscribe(&IdentTopic::new(topic)).expect("a topic");
            }
            Order::Say(topic, bytes) => {
                // Whoever has had enough of it has gone, and it may have said the same before.
                let _ = self.swarm.behaviour_mut().gossip.publish(IdentTopic::new(topic), bytes);
            }
        }
    }

    /// Leaves everybody without a word, or comes back to all of them.
    fn come_or_go(&mut self) {
        self.turn = Instant::now() + STAY;
        let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in &connected {
            let _ = self.swarm.disconnect_peer_id(*peer);
        }
        if connected.is_empty() {
            // The gateway may be on its way here at the same time.
            self.dialled.iter().for_each(|address| _ = self.swarm.dial(address.clone()));
        }
    }
}

async fn tell_card(mut asked: IncomingStreams, card: String) {
    let mut open = Vec::new();
    while let Some((_, mut stream)) = asked.next().await {
        let length = u16::try_from(card.len()).expect("a short card").to_be_bytes();
        // Who asks may be gone.
        let _ = stream.write_all(&[&length, card.as_bytes()].concat()).await;
        let _ = stream.flush().await;
        open.push(stream);
    }
}
