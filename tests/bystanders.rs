//! What goes wrong for one is nobody else's trouble.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use harness::http::{self, Request};
use harness::{Ca, Fault, Gateway, Matcher, Package, Registry, Times};
use socket2::{Domain, Socket, Type};

const LIMIT: Duration = Duration::from_secs(30);

fn left() -> Package {
    Package::new("left").version("1.0.0", |v| v)
}

fn state(gateway: &Gateway) -> String {
    http::get(&format!("{}/status", gateway.operator_url())).json()["upstream"]["state"].to_string()
}

#[test]
fn a_dead_host_of_tarballs_is_not_a_dead_upstream() {
    // Taken, so that nobody else has it, and not listened on.
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    taken.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let dead = taken.local_addr().unwrap().as_socket().unwrap();
    let moved = Package::new("moved").version("1.0.0", |v| v.tarball_on(&format!("http://{dead}")));
    let registry = Registry::builder().package(moved).package(left()).start();
    let config = format!("[upstream]\ntarball_hosts = [\"{dead}\"]\n");
    let gateway = Gateway::builder().upstream(registry.url()).config_toml(&config).start();

    let reply = Request::get(&format!("{}/moved/-/moved-1.0.0.tgz", gateway.url())).within(LIMIT).send();

    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(reply.text().contains("connection refused"), "{}", reply.text());
    assert_eq!(state(&gateway), "\"up\"");
    assert_eq!(http::get(&format!("{}/left", gateway.url())).status, 200);
}

#[test]
fn one_package_that_upstream_always_fails_is_not_a_dead_upstream() {
    let registry =
        Registry::builder().package(left()).package(Package::new("sick").version("1.0.0", |v| v)).start();
    let gateway = Gateway::builder().upstream(registry.url()).start();
    registry.fault(Matcher::package("sick"), Times::Always, Fault::RetryAfter(503, 300));

    let reply = Request::get(&format!("{}/sick", gateway.url())).within(LIMIT).send();

    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(state(&gateway), "\"up\"");
    let asked = http::get(&format!("{}/left", gateway.url()));
    assert!(asked.status == 200 && asked.first_byte < Duration::from_secs(2), "{:?}", asked.first_byte);
}

#[test]
fn downloads_that_trickle_keep_nobody_from_metadata() {
    const SLOW: usize = 100;
    let slow = |nth: usize| Package::new(&format!("slow{nth}")).version("1.0.0", |v| v.size(20_000));
    let registry = Registry::builder().packages((0..SLOW).map(slow)).package(left()).start();
    let gateway = Gateway::builder().upstream(registry.url()).start();
    registry.fault(Matcher::Tarballs, Times::Always, Fault::Drip(1_000, Duration::from_secs(1)));

    thread::scope(|scope| {
        let gateway = &gateway;
        for nth in 0..SLOW {
            let url = format!("{}/slow{nth}/-/slow{nth}-1.0.0.tgz", gateway.url());
            // Whether it comes within this time is not what is tested.
            scope.spawn(move || drop(Request::get(&url).within(Duration::from_secs(12)).try_send()));
        }
        let busy =
            registry.wait_until(|log| log.iter().filter(|asked| asked.is_tarball()).count() >= 40, LIMIT);
        assert!(busy, "the downloads did not begin");
        let asked = Request::get(&format!("{}/left", gateway.url())).within(LIMIT).send();
        assert!(asked.status == 200 && asked.first_byte < Duration::from_secs(5), "{:?}", asked.first_byte);
        let search = Request::get(&format!("{}/-/v1/search?text=left", gateway.url())).within(LIMIT).send();
        assert!(
            search.status == 200 && search.first_byte < Duration::from_secs(5),
            "{:?}",
            search.first_byte
        );
    });
}

#[test]
fn a_version_that_a_mirror_published_again_is_what_its_packument_says() {
    let registry = Registry::builder().package(left()).start();
    let config = "[upstream]\nfresh = \"0s\"\nstale = \"0s\"\n";
    let gateway = Gateway::builder().upstream(registry.url()).config_toml(config).start();
    let tarball = || http::get(&format!("{}/left/-/left-1.0.0.tgz", gateway.url())).body;
    assert!(tarball() == left().at("1.0.0").tarball);

    let again = Package::new("left").version("1.0.0", |v| v.file("new.js", "new"));
    registry.publish(again.clone());
    http::get(&format!("{}/left", gateway.url()));

    assert!(tarball() == again.at("1.0.0").tarball, "the packument and the tarball disagree");
}

#[test]
fn an_upstream_whose_certificate_nobody_vouches_for_is_named_as_such() {
    let ca = Ca::new();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let registry = Registry::builder().package(left()).start_tls(address, ca.issue(&["127.0.0.1"]));
    let gateway = Gateway::builder().upstream(registry.url()).start();
    let reply = Request::get(&format!("{}/left", gateway.url())).within(LIMIT).send();
    assert_eq!(reply.status, 503);
    assert!(reply.text().contains("TLS: invalid peer certificate"), "{}", reply.text());
}

/// On one HTTP/2 connection to upstream a body that nobody reads must not use up what the others may send.
#[test]
fn clients_that_do_not_read_stop_nobody_elses_answers() {
    const BIG: usize = 12 * 1024 * 1024;
    let ca = Ca::new();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let big = Package::new("big").version("1.0.0", |v| v.size(BIG));
    let registry =
        Registry::builder().package(big).package(left()).start_tls(address, ca.issue(&["127.0.0.1"]));
    let gateway = Gateway::builder().upstream(registry.url()).trust(&ca).start();

    // With credentials they are passed on as they come, at each client's own pace.
    let ask = |_| {
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        let head = "GET /big/-/big-1.0.0.tgz HTTP/1.1\r\nhost: a\r\nauthorization: Bearer x\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let _silent: Vec<TcpStream> = (0..8).map(ask).collect();
    assert!(registry.wait_until(|log| log.iter().filter(|asked| asked.is_tarball()).count() == 8, LIMIT));

    for path in ["/left", "/big/-/big-1.0.0.tgz"] {
        let reply = Request::get(&format!("{}{path}", gateway.url())).within(LIMIT).send();
        assert_eq!((reply.status, &reply.cut), (200, &None), "{path}: {}", reply.text());
        assert!(reply.first_byte < Duration::from_secs(8), "{path}: {:?}", reply.first_byte);
    }
}
