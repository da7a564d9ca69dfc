//! The main promise, for every client: the registry address is all that changes.
//!
//! One network per client, in which the npm registry is ours. The client installs a project straight from it, and
//! through a gateway; both times it gets the same packages and the same lockfile. It never goes round the
//! gateway, and what the gateway has seen once it serves without the npm registry.

use harness::Client;
use harness::clients::{LockfilePromise, Mode, Outcome, World, assert_same_lines, assert_same_packages};

/// One test per client, so that each fails for itself.
macro_rules! promises {
    ($($test:ident: $client:ident,)*) => {$(
        #[test]
        fn $test() {
            installs_the_same_through_the_gateway(stringify!($test), Client::$client);
        }
    )*};
}

promises! {
    npm_8_installs_through_the_gateway_and_its_lockfile_is_the_same: Npm8,
    npm_10_installs_through_the_gateway_and_its_lockfile_is_the_same: Npm10,
    npm_11_installs_through_the_gateway_and_its_lockfile_is_the_same: Npm11,
    npm_12_installs_through_the_gateway_and_its_lockfile_is_the_same: Npm12,
    yarn_1_installs_through_the_gateway_and_its_lockfile_names_the_gateway: Yarn1,
    yarn_4_installs_through_the_gateway_and_its_lockfile_is_the_same: Yarn4,
    pnpm_10_installs_through_the_gateway_and_its_lockfile_is_the_same: Pnpm10,
    pnpm_11_installs_through_the_gateway_and_its_lockfile_is_the_same: Pnpm11,
    pnpm_12_installs_through_the_gateway_and_its_lockfile_is_the_same: Pnpm12,
    bun_installs_through_the_gateway_and_its_lockfile_is_the_same: Bun,
    deno_installs_through_the_gateway_and_its_lockfile_is_the_same: Deno,
}

fn installs_the_same_through_the_gateway(test: &str, client: Client) {
    World::enter(test, client, |world| {
        let straight = world.checkout("straight");
        let first = client.install(&straight, &world.straight(), Mode::Cold).expect_success();
        let packages = straight.installed();
        client.install(&straight, &world.straight(), Mode::Frozen).expect_success();
        let packages_of_the_lockfile = straight.installed();
        world.registry.reset_log();

        let gateway = world.gateway();
        let settings = world.through(&gateway);
        let through = world.checkout("through");
        let second = client.install(&through, &settings, Mode::Cold).expect_success();
        assert_same_packages(&through.installed(), &packages);
        assert_same_lines(&second.locked(), &client.promised_lockfile(&first, &gateway.url()));
        world.assert_only_the_gateway_asked();
        world.assert_no_tarball_was_asked_for_twice();

        let again = client.install(&through, &settings, Mode::Frozen).expect_success();
        assert_same_packages(&through.installed(), &packages_of_the_lockfile);
        assert_same_lines(&again.locked(), &second.locked());
        world.assert_only_the_gateway_asked();

        world.registry.switch_off();
        let colleague = world.checkout("colleague");
        colleague.lock(client, lockfile_to_share(client, &first, &second));
        let offline = client.install(&colleague, &settings, Mode::Frozen).expect_success();
        assert_same_packages(&colleague.installed(), &packages_of_the_lockfile);
        assert_eq!(offline.lockfile.as_deref(), Some(lockfile_to_share(client, &first, &second)));
    });
}

#[test]
fn a_yarn_1_lockfile_without_addresses_is_installed_from_the_gateway() {
    let test = "a_yarn_1_lockfile_without_addresses_is_installed_from_the_gateway";
    World::enter(test, Client::Yarn1, |world| {
        let straight = world.checkout("straight");
        let first = Client::Yarn1.install(&straight, &world.straight(), Mode::Cold);
        let lockfile = without_addresses(&first.expect_success().locked());
        world.registry.reset_log();

        let gateway = world.gateway();
        let through = world.checkout("through");
        through.lock(Client::Yarn1, lockfile.as_bytes());
        let frozen = Client::Yarn1.install(&through, &world.through(&gateway), Mode::Frozen);

        assert_eq!(frozen.expect_success().locked(), lockfile);
        assert_same_packages(&through.installed(), &straight.installed());
        world.assert_only_the_gateway_asked();
    });
}

/// The lockfile that a colleague, who has the gateway configured, finds in the checkout: one that was made
/// without the gateway, where that is promised to work.
fn lockfile_to_share<'a>(client: Client, straight: &'a Outcome, through: &'a Outcome) -> &'a [u8] {
    let made = match client.lockfile_promise() {
        LockfilePromise::SameBytes => straight,
        LockfilePromise::NamesTheRegistry => through,
    };
    made.lockfile.as_deref().expect("a lockfile was written")
}

/// The lockfile of yarn 1 as its users can make it independent of any registry.
fn without_addresses(lockfile: &str) -> String {
    lockfile.lines().filter(|line| !line.starts_with("  resolved ")).map(|line| format!("{line}\n")).collect()
}
