//! The neighbours: nginx and varnish with the same bytes as files and in memory, Verdaccio and NORA as caches.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Program, free_address};

/// One server, running.
pub(crate) struct Neighbour {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    pub(crate) program: Program,
}

impl Neighbour {
    fn start(name: &'static str, command: Command, address: SocketAddr) -> Result<Self, String> {
        let program = Program::start(command, address)?;
        Ok(Self { name, url: format!("http://{address}"), program })
    }
}

/// nginx, where it is to listen. It serves, with gzip where there is a file with that ending:
///
/// ```text
/// <folder>/files/<name>                      /files/<name>
/// <folder>/tarballs/<package>/-/<file>.tgz   tarballs at their paths
/// <folder>/full|abbreviated/<package>.json   packuments, by Accept
/// ```
pub(crate) fn nginx(folder: &Path, address: SocketAddr) -> Result<Neighbour, String> {
    let root = folder.display();
    let configuration = format!(
        r#"worker_processes auto; daemon off; pid {root}/nginx.pid; error_log {root}/nginx.log;
        events {{ worker_connections 4096; }}
        http {{
          access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; gzip_static on; server_tokens off;
          keepalive_requests 1000000; open_file_cache max=10000; default_type application/json;
          map $http_accept $form {{ default full; ~install-v1 abbreviated; }}
          server {{
            listen {address} backlog=4096;
            location /files/ {{ root {root}; }}
            location ~ /-/npm/ {{ return 404; }}
            location ~ /-/ {{ root {root}/tarballs; default_type application/octet-stream; }}
            location / {{ root {root}/$form; try_files $uri.json =404; }}
          }}
        }}"#
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, configuration).map_err(|error| error.to_string())?;
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&file);
    Neighbour::start("nginx", command, address)
}

/// varnish, with what nginx serves in its memory.
pub(crate) fn varnish(folder: &Path, behind: SocketAddr) -> Result<Neighbour, String> {
    let address = free_address();
    let mut command = Command::new("varnishd");
    command
        .args(["-F", "-j", "none", "-t", "86400", "-s", "malloc,1G"])
        .arg("-n")
        .arg(folder.join("varnish"));
    command.args(["-a", &address.to_string(), "-b", &behind.to_string()]);
    Neighbour::start("varnish", command, address)
}

/// Verdaccio, on the node that it needs.
pub(crate) fn verdaccio(folder: &Path, upstream: &str) -> Result<Neighbour, String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = tests.join("bench/verdaccio/node_modules/verdaccio/bin/verdaccio");
    let cpu = if env::consts::ARCH == "aarch64" { "arm64" } else { "x64" };
    let node = tests.join(format!("clients/node_modules/node-linux-{cpu}/bin/node"));
    for needed in [&program, &node] {
        if !needed.exists() {
            return Err(format!("{} is not there", needed.display()));
        }
    }
    let address = free_address();
    let configuration = folder.join("verdaccio.yaml");
    let text = format!(
        "storage: {}\nuplinks:\n  up:\n    url: {upstream}\n    maxage: 1d\n    timeout: 60s\npackages:\n  '**':\n    \
         access: $all\n    proxy: up\nlog:\n  type: stdout\n  level: error\n",
        folder.join("verdaccio").display()
    );
    fs::write(&configuration, text).map_err(|error| error.to_string())?;
    let mut command = Command::new(node);
    command.arg(program).arg("--config").arg(configuration).args(["--listen", &address.to_string()]);
    command.env("NODE_ENV", "production").current_dir(folder);
    Neighbour::start("verdaccio", command, address)
}

/// NORA, if it is in the PATH: see tests/bench/install.
pub(crate) fn nora(folder: &Path, upstream: &str) -> Result<Neighbour, String> {
    let address = free_address();
    let mut command = Command::new("nora");
    command.arg("serve").current_dir(folder);
    command.env("NORA_HOST", address.ip().to_string()).env("NORA_PORT", address.port().to_string());
    command.env("NORA_STORAGE_PATH", folder.join("nora")).env("NORA_NPM_PROXY", upstream);
    command.env("NORA_PUBLIC_URL", format!("http://{address}")).env("NORA_RATE_LIMIT_ENABLED", "false");
    command.env("NORA_NPM_METADATA_TTL", "86400");
    let mut started = Neighbour::start("nora", command, address)?;
    started.url.push_str("/npm");
    Ok(started)
}

/// A folder that every user can enter: nginx drops its rights.
pub(crate) fn open(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    fs::create_dir_all(folder).expect("a folder");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("one's own folder");
    folder.to_owned()
}
