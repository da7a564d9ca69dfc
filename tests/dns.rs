//! DNS over real sockets: who is answered, from where, and what happens to the others when somebody misbehaves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use harness::dns::{Connection, addresses, ask, exchange, question};
use harness::network::ip;
use harness::{Ca, Gateway, in_own_network};
use hickory_proto::op::{Message, ResponseCode};
use nix::sys::signal::Signal;

const ZONE: &str = "registry.open-registry.dev.";
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A gateway that makes no connections and answers DNS at these addresses.
fn gateway(listen: &str) -> Gateway {
    Gateway::builder().offline().config_toml(&format!("[dns]\nlisten = [{listen}]\n")).start()
}

fn on_loopback() -> Gateway {
    gateway("\"127.0.0.1:0\"")
}

fn a() -> Message {
    question(ZONE, "A")
}

fn code(answer: &Message) -> ResponseCode {
    answer.metadata.response_code
}

#[test]
fn the_zone_is_answered_by_datagram_and_by_connection() {
    let gateway = on_loopback();
    let server = gateway.listener("dns");
    assert_eq!(addresses(&ask(server, &a())), ["127.0.0.1"]);
    let mut connection = Connection::open(gateway.listener("dns-tcp"));
    connection.send(&a());
    assert_eq!(addresses(&connection.receive().unwrap()), ["127.0.0.1"]);
    connection.send(&question(ZONE, "SOA"));
    assert_eq!(connection.receive().unwrap().answers.len(), 1, "a connection is good for many questions");
    let sum = |labels: &[_]| gateway.metric("open_registry_dns_queries_total", labels);
    assert_eq!(
        sum(&[("transport", "udp"), ("outcome", "answered")])
            + sum(&[("transport", "tcp"), ("outcome", "answered")]),
        3.0
    );
}

#[test]
fn the_zone_is_answered_over_tls_with_the_gateways_certificate() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let (cert, key) = ca.leaf(&["registry.open-registry.dev"]).write(folder.path());
    let toml = format!(
        "[tls]\ncert = {cert:?}\nkey = {key:?}\n[dns]\nlisten = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\n"
    );
    let gateway = Gateway::builder().offline().config_toml(&toml).start();
    let open = || Connection::open(gateway.listener("dot")).secure(ca.client(), "registry.open-registry.dev");
    let mut connection = open();
    for _ in 0..3 {
        connection.send(&a());
        assert_eq!(addresses(&connection.receive().unwrap()), ["127.0.0.1"]);
    }
    // Who never finishes a handshake keeps nobody waiting.
    let _silent: Vec<_> = (0..300).map(|_| Connection::open(gateway.listener("dot"))).collect();
    let mut another = open();
    another.send(&a());
    assert_eq!(addresses(&another.receive().unwrap()), ["127.0.0.1"]);
}

#[test]
fn this_is_no_open_resolver() {
    let gateway = on_loopback();
    for name in ["example.com.", ".", "open-registry.dev.", "xregistry.open-registry.dev."] {
        for record in ["A", "NS", "TXT"] {
            let answer = ask(gateway.listener("dns"), &question(name, record));
            assert_eq!(code(&answer), ResponseCode::Refused, "{name} {record}");
            assert!(answer.answers.is_empty() && !answer.metadata.recursion_available);
        }
    }
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    let test = "answers_leave_from_the_address_that_was_asked";
    let addresses_here: Vec<IpAddr> =
        ["10.7.7.1", "10.7.7.2", "fd00:7::1", "fd00:7::2"].map(|ip| ip.parse().unwrap()).into();
    let hosts: Vec<(&str, IpAddr)> = addresses_here.iter().map(|ip| ("here", *ip)).collect();
    in_own_network(test, &hosts, || {
        let _gateway = gateway("\"0.0.0.0:53\", \"[::]:53\"");
        for address in &addresses_here {
            let record = if address.is_ipv4() { "A" } else { "AAAA" };
            let answer = ask(SocketAddr::new(*address, 53), &question(ZONE, record));
            assert_eq!(addresses(&answer), [address.to_string()]);
        }
    });
}

#[test]
fn port_53_is_shared_with_a_stub_resolver_at_an_address_of_its_own() {
    let test = "port_53_is_shared_with_a_stub_resolver_at_an_address_of_its_own";
    in_own_network(test, &[("here", "10.7.7.1".parse().unwrap())], || {
        let stub = (Ipv4Addr::new(127, 0, 0, 53), 53);
        let _stub = (UdpSocket::bind(stub).unwrap(), TcpListener::bind(stub).unwrap());
        let gateway = gateway("\"0.0.0.0:53\"");
        let server = "10.7.7.1:53".parse().unwrap();
        assert_eq!(addresses(&ask(server, &a())), ["10.7.7.1"]);
        assert!(gateway.log().iter().all(|line| !line.contains("not listening at")));
    });
}

#[test]
fn an_address_that_is_taken_costs_only_itself() {
    let test = "an_address_that_is_taken_costs_only_itself";
    in_own_network(test, &[("here", "10.7.7.1".parse().unwrap())], || {
        let _other = UdpSocket::bind("127.0.0.1:53").unwrap();
        let gateway = gateway("\"0.0.0.0:53\"");
        assert_eq!(addresses(&ask("10.7.7.1:53".parse().unwrap(), &a())), ["10.7.7.1"]);
        let told =
            |line: &str| line.contains("127.0.0.1:53") && line.contains("another program listens there");
        assert!(gateway.wait_for_log(told, Duration::from_secs(5)), "{:#?}", gateway.log());
    });
}

#[test]
fn an_address_that_comes_later_is_listened_on() {
    let test = "an_address_that_comes_later_is_listened_on";
    in_own_network(test, &[], || {
        let gateway = gateway("\"0.0.0.0:53\"");
        ip(&["address", "add", "10.7.7.9/32", "dev", "lo"]);
        let came = |line: &str| line.contains("an address has come") && line.contains("10.7.7.9:53");
        assert!(gateway.wait_for_log(came, Duration::from_secs(20)), "{:#?}", gateway.log());
        assert_eq!(addresses(&ask("10.7.7.9:53".parse().unwrap(), &a())), ["10.7.7.9"]);
        ip(&["address", "del", "10.7.7.9/32", "dev", "lo"]);
        let went = |line: &str| line.contains("the address has gone") && line.contains("10.7.7.9:53");
        assert!(gateway.wait_for_log(went, Duration::from_secs(20)), "{:#?}", gateway.log());
    });
}

#[test]
fn five_hundred_idle_connections_starve_nobody() {
    let gateway = on_loopback();
    let server = gateway.listener("dns-tcp");
    let neighbour: IpAddr = "127.0.0.2".parse().unwrap();
    // Silent for longest of all, and the only one of its client.
    let mut quiet = Connection::from(neighbour, server);
    let idle: Vec<_> = (0..500).map(|_| Connection::open(server)).collect();
    let started = Instant::now();
    for from in [LOOPBACK, neighbour].into_iter().cycle().take(20) {
        let mut connection = Connection::from(from, server);
        connection.send(&a());
        assert_eq!(addresses(&connection.receive().expect("an answer")), ["127.0.0.1"]);
    }
    assert_eq!(addresses(&ask(gateway.listener("dns"), &a())), ["127.0.0.1"]);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    quiet.send(&a());
    assert_eq!(addresses(&quiet.receive().expect("it was not its client that had too many")), ["127.0.0.1"]);
    drop(idle);
}

#[test]
fn a_client_that_reads_nothing_is_not_read_and_keeps_nobody_waiting() {
    let gateway = on_loopback();
    let server = gateway.listener("dns-tcp");
    let mut deaf = Connection::deaf(server);
    let most = 1_000_000;
    let taken = deaf.send_until_full(&question(ZONE, "TXT"), most, Duration::from_secs(2));
    assert!(taken < most, "it is read for ever");
    let mut connection = Connection::open(server);
    connection.send(&a());
    assert_eq!(addresses(&connection.receive().expect("an answer")), ["127.0.0.1"]);
    assert_eq!(addresses(&ask(gateway.listener("dns"), &a())), ["127.0.0.1"]);
}

/// Packets of all lengths that no client would send; the same each time.
fn garbage() -> impl Iterator<Item = Vec<u8>> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::from_fn(move || {
        let length = usize::try_from(next() % 700).unwrap_or_default();
        let mut packet: Vec<u8> = (0..length).map(|_| next().to_be_bytes()[0]).collect();
        // Every other one begins as a query does, so that more than the header is read.
        if next() % 2 == 0 && length >= 12 {
            packet[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        }
        Some(packet)
    })
}

#[test]
fn no_garbage_ends_it() {
    let gateway = on_loopback();
    let server = gateway.listener("dns");
    let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    for (sent, packet) in garbage().take(20_000).enumerate() {
        socket.send_to(&packet, server).unwrap();
        if sent % 200 == 0 {
            assert_eq!(addresses(&ask(server, &a())), ["127.0.0.1"], "after {sent} packets");
        }
    }
    for packet in garbage().take(300) {
        let mut connection = Connection::open(gateway.listener("dns-tcp"));
        connection.send_bytes(&packet);
    }
    assert_eq!(addresses(&ask(server, &a())), ["127.0.0.1"]);
    assert_eq!(gateway.metric("open_registry_dns_queries_total", &[("outcome", "fault")]), 0.0);
}

#[test]
fn a_datagram_that_is_too_long_is_dropped_and_the_next_one_answered() {
    let gateway = on_loopback();
    let server = gateway.listener("dns");
    assert!(exchange(server, &[0; 9000], Duration::from_millis(300)).is_none());
    assert_eq!(addresses(&ask(server, &a())), ["127.0.0.1"]);
}

#[test]
fn whoever_asked_before_the_end_has_his_answer() {
    // As many as fit into a socket's queue on any machine.
    const ASKED: usize = 200;
    let mut gateway = on_loopback();
    let (server, by_tcp) = (gateway.listener("dns"), gateway.listener("dns-tcp"));
    // Connections that are open and have said next to nothing when the end comes.
    let mut late: Vec<_> = (0..20).map(|_| Connection::open(by_tcp)).collect();
    for connection in &mut late {
        connection.send_bytes(&[0]);
    }
    gateway.signal(Signal::SIGSTOP);
    let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for _ in 0..ASKED {
        socket.send_to(&a().to_vec().unwrap(), server).unwrap();
    }
    gateway.signal(Signal::SIGTERM);
    gateway.signal(Signal::SIGCONT);
    for connection in &mut late {
        let rest = a().to_vec().unwrap();
        let length = u8::try_from(rest.len()).unwrap();
        connection.send_bytes(&[&[length], &rest[..]].concat());
    }
    for mut connection in late {
        assert_eq!(addresses(&connection.receive().expect("an answer")), ["127.0.0.1"]);
    }
    let mut answer = [0; 512];
    for number in 0..ASKED {
        socket.recv(&mut answer).unwrap_or_else(|error| panic!("only {number} answers: {error}"));
    }
    assert!(gateway.wait(Duration::from_secs(30)).success());
}

/// A gateway on public addresses, and clients in a network that is none of its own.
const PUBLIC: [(&str, IpAddr); 2] =
    [("server", IpAddr::V4(Ipv4Addr::new(9, 9, 9, 9))), ("client", IpAddr::V4(Ipv4Addr::new(11, 7, 7, 7)))];

#[test]
fn a_public_network_that_floods_gets_some_answers_and_is_asked_to_connect() {
    let test = "a_public_network_that_floods_gets_some_answers_and_is_asked_to_connect";
    in_own_network(test, &PUBLIC, || {
        const ASKED: u32 = 2000;
        let [(_, server), (_, client)] = PUBLIC;
        let gateway = gateway("\"9.9.9.9:53\"");
        let server = SocketAddr::new(server, 53);
        let socket = UdpSocket::bind((client, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let (mut answered, mut truncated) = (0_u32, 0_u32);
        let mut take_what_is_there = |waits: bool| {
            socket.set_nonblocking(!waits).unwrap();
            let mut answer = [0; 512];
            while let Ok(length) = socket.recv(&mut answer) {
                let answer = Message::from_vec(&answer[..length]).unwrap();
                *(if answer.metadata.truncation { &mut truncated } else { &mut answered }) += 1;
            }
        };
        let started = Instant::now();
        for _ in 0..ASKED {
            socket.send_to(&a().to_vec().unwrap(), server).unwrap();
            take_what_is_there(false);
        }
        take_what_is_there(true);
        let taken = started.elapsed();
        let most = 200.0 + 200.0 * taken.as_secs_f64() + 1.0;
        assert!(answered >= 100 && f64::from(answered) <= most, "{answered} in {taken:?}");
        assert!(truncated > 0 && truncated <= ASKED.div_ceil(2), "{truncated}");
        let limited = [("transport", "udp"), ("outcome", "limited")];
        assert!(gateway.metric("open_registry_dns_queries_total", &limited) >= f64::from(truncated * 2 - 1));
        let mut connection = Connection::open(server);
        connection.send(&a());
        assert_eq!(addresses(&connection.receive().expect("an answer")), ["9.9.9.9"]);
    });
}

#[test]
fn every_client_has_its_answer_whichever_core_its_question_came_to() {
    let test = "every_client_has_its_answer_whichever_core_its_question_came_to";
    in_own_network(test, &PUBLIC, || {
        let [(_, server), _] = PUBLIC;
        let mut gateway = gateway("\"0.0.0.0:53\"");
        let asked: Vec<_> = (0..200)
            .map(|_| {
                let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                socket.connect((server, 53)).unwrap();
                socket.send(&a().to_vec().unwrap()).unwrap();
                socket
            })
            .collect();
        for (number, socket) in asked.iter().enumerate() {
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer).unwrap_or_else(|error| panic!("client {number}: {error}"));
            assert_eq!(addresses(&Message::from_vec(&answer[..length]).unwrap()), ["9.9.9.9"]);
        }
        let started = Instant::now();
        gateway.signal(Signal::SIGTERM);
        assert!(gateway.wait(Duration::from_secs(30)).success());
        assert!(started.elapsed() < Duration::from_secs(5), "no thread was waited for");
    });
}

#[test]
fn a_gateway_that_would_ask_itself_does_not_start() {
    let test = "a_gateway_that_would_ask_itself_does_not_start";
    in_own_network(test, &[("here", "10.7.7.1".parse().unwrap())], || {
        let toml = "[dns]\nlisten = [\"0.0.0.0:53\"]\nforward = [\"10.7.7.1\"]\n";
        let (mut command, _surroundings) = Gateway::builder().config_toml(toml).command();
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("which is this gateway itself"), "{said}");
    });
}

#[test]
fn a_wrong_setting_is_told_before_anything_starts() {
    for (toml, words) in [
        ("[dns]\nlisten = [\"everywhere\"]\n", "dns.listen"),
        ("[dns]\nforward = [\"router\"]\n", "is not an address"),
        ("[zone]\nname = \"not a name\"\n", "is not a host name"),
        ("[zone]\naddresses = [\"0.0.0.0\"]\n", "leads nowhere"),
        ("[dns]\ntrusted_forwarders = [\"office\"]\n", "dns.trusted_forwarders"),
        ("[dns]\nrate_limit = -1\n", "dns.rate_limit"),
        ("[dns]\nlisten = [\"224.0.0.1:53\"]\n", "is none that a client could ask"),
        ("[dns]\nlisten = [\"[fe80::1]:53\"]\n", "is none that a client could ask"),
        ("[dns]\nlisten = [\"192.0.2.1:53\"]\nforward = [\"192.0.2.1\"]\n", "is this gateway itself"),
    ] {
        let (mut command, _surroundings) = Gateway::builder().config_toml(toml).flag("check").command();
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words), "{toml}: {said}");
    }
}
