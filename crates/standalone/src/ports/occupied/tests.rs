use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::*;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A child has all sockets of its parent for a moment, until it runs its own program: one test at a time starts any.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that holds a socket and was started with a path.
struct Holder(Child);

impl Holder {
    fn start(socket: impl Into<OwnedFd>, path: &Path) -> Self {
        fs::write(path, "").unwrap();
        let mut tail = Command::new("tail");
        let socket = Stdio::from(socket.into());
        let child =
            tail.arg("-f").arg("/dev/null").arg(path).stdin(socket).stdout(Stdio::null()).spawn().unwrap();
        // A program that was just started runs before the kernel shows its command line.
        let line = format!("/proc/{}/cmdline", child.id());
        while fs::read(&line).unwrap().is_empty() {
            std::thread::yield_now();
        }
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// As Envoy binds.
fn shared(port: u16) -> TcpListener {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_socket_reuseport(&socket, true).unwrap();
    bind(&socket, &SocketAddr::new(LOCAL, port)).unwrap();
    rustix::net::listen(&socket, 8).unwrap();
    socket.into()
}

#[test]
fn port_of_another_gatehouse_is_occupied_until_that_ends() {
    let _alone = alone();
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let listener = shared(0);
    let port = listener.local_addr().unwrap().port();
    let other = Holder::start(listener, &theirs.path().join("bootstrap.yaml"));
    drop(shared(port));
    let watch = PortWatch::new(ours.path());
    let found =
        Occupant { address: SocketAddr::new(LOCAL, port), process: Some((other.0.id(), "tail".to_owned())) };
    assert_eq!(watch.occupant(&[LOCAL], port, Transport::Tcp).as_ref(), Some(&found));
    assert_eq!(
        watch.occupant(&[], port, Transport::Tcp).as_ref(),
        Some(&found),
        "every address is that address too"
    );
    assert!(found.to_string().contains(&format!("cannot bind port {port}: process {}", other.0.id())));
    assert_eq!(watch.occupant(&[Ipv4Addr::new(127, 0, 0, 2).into()], port, Transport::Tcp), None);
    drop(other);
    assert_eq!(watch.occupant(&[LOCAL], port, Transport::Tcp), None);
}

#[test]
fn port_of_our_own_envoy_is_not_occupied() {
    let _alone = alone();
    let ours = tempfile::tempdir().unwrap();
    let listener = shared(0);
    let port = listener.local_addr().unwrap().port();
    let _envoy = Holder::start(listener, &ours.path().join("bootstrap.yaml"));
    let watch = PortWatch::new(ours.path());
    assert_eq!(watch.occupant(&[LOCAL], port, Transport::Tcp), None);
    let theirs = tempfile::tempdir().unwrap();
    let _other = Holder::start(shared(port), &theirs.path().join("bootstrap.yaml"));
    assert!(watch.occupant(&[LOCAL], port, Transport::Tcp).is_some(), "a stranger beside our own");
}

#[test]
fn port_on_every_address_is_occupied_on_each() {
    let _alone = alone();
    let theirs = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let _other = Holder::start(listener, &theirs.path().join("x"));
    let watch = PortWatch::new(Path::new("/nowhere"));
    assert_eq!(
        watch.occupant(&[LOCAL], port, Transport::Tcp).map(|o| o.address),
        Some(SocketAddr::from(([0; 4], port)))
    );
}

#[test]
fn addresses_of_the_kernels_tables_are_read() {
    let line =
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 1060 1 0 100";
    assert_eq!(listener(line, LISTENING), Some(("127.0.0.1:8080".parse().unwrap(), 1060)));
    let line = "   1: 00000000000000000000000001000000:0050 0:0 0A 0:0 0:0 0 0 0 7 1";
    assert_eq!(listener(line, LISTENING), Some(("[::1]:80".parse().unwrap(), 7)));
    assert_eq!(
        listener("   2: 0100007F:1F90 0100007F:0016 01 0:0 0:0 0 0 0 8 1", LISTENING),
        None,
        "a connection"
    );
    assert_eq!(listener("  sl  local_address rem_address   st", LISTENING), None);
}

#[test]
fn transport_protocols_do_not_meet_on_a_port() {
    let _alone = alone();
    let state = tempfile::tempdir().unwrap();
    let socket = std::net::UdpSocket::bind((LOCAL, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let theirs = tempfile::tempdir().unwrap();
    let other = Holder::start(socket, &theirs.path().join("bootstrap.yaml"));
    let watch = PortWatch::new(state.path());
    let found = watch.occupant(&[LOCAL], port, Transport::Udp).expect("a stranger");
    assert_eq!(found.process.map(|(pid, _)| pid), Some(other.0.id()));
    assert_eq!(watch.occupant(&[LOCAL], port, Transport::Tcp), None);
}
