//! A DNS server whose answers a test decides, and processes that ask no other.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use tempfile::TempDir;

/// How many of them this process has.
static COUNT: AtomicU8 = AtomicU8::new(1);

/// What is said of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It is here.
    At(Ipv4Addr),
    /// There is no such name.
    NxDomain,
    /// The server has a trouble of its own.
    ServFail,
    /// Nothing.
    Silence,
}

/// A DNS server on an address of its own. Of names that it was not told of it says that there are none.
#[derive(Debug)]
pub(crate) struct Dns {
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    folder: TempDir,
}

impl Dns {
    /// Starts it. Needs root: clients ask port 53 alone.
    pub(crate) fn start() -> Self {
        let [_, _, high, low] = process::id().to_be_bytes();
        let address = loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let address = Ipv4Addr::new(127, 64 + count % 64, high, low.max(1));
            if let Ok(socket) = UdpSocket::bind((address, 53)) {
                break (address, socket);
            }
            assert!(
                count < 200,
                "no address has its port 53 free (root is needed)"
            );
        };
        let (address, socket) = address;
        let replies = Arc::new(Mutex::new(HashMap::new()));
        let told = Arc::clone(&replies);
        // It ends with the process.
        thread::spawn(move || serve(&socket, &told));
        let folder = super::folder();
        let text = format!("nameserver {address}\noptions timeout:1 attempts:1\n");
        fs::write(folder.path().join("resolv.conf"), text).expect("our own folder");
        Self { replies, folder }
    }

    /// From now on it says this of a name.
    pub(crate) fn set(&self, name: &str, reply: Reply) {
        let mut replies = self.replies.lock().expect("nobody panics with it");
        replies.insert(name.to_owned(), reply);
    }

    /// What a process is to be started by that asks this server.
    pub(crate) fn starter(&self) -> Vec<String> {
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        let file = self.folder.path().join("resolv.conf");
        let words = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
        ];
        let words = words.into_iter().map(str::to_owned);
        words.chain([file.display().to_string()]).collect()
    }
}

fn serve(socket: &UdpSocket, replies: &Mutex<HashMap<String, Reply>>) {
    let mut buffer = [0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        let Some((name, kind, end)) = question(&buffer[..length]) else {
            continue;
        };
        let reply = replies
            .lock()
            .expect("nobody panics with it")
            .get(&name)
            .copied();
        if let Some(answer) = answer(&buffer[..end], kind, reply.unwrap_or(Reply::NxDomain)) {
            // Whoever asked may be gone.
            let _ = socket.send_to(&answer, client);
        }
    }
}

/// The name and the kind of a question, and where it ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, at + 4))
}

fn answer(question: &[u8], kind: u16, reply: Reply) -> Option<Vec<u8>> {
    const A: u16 = 1;
    let (code, address) = match reply {
        Reply::At(address) => (0, (kind == A).then_some(address)),
        Reply::NxDomain => (3, None),
        Reply::ServFail => (2, None),
        Reply::Silence => return None,
    };
    let mut answer = question.to_vec();
    // A response to a recursive query, one question, perhaps one answer, nothing else.
    answer[2..12].copy_from_slice(&[
        0x81,
        0x80 | code,
        0,
        1,
        0,
        u8::from(address.is_some()),
        0,
        0,
        0,
        0,
    ]);
    if let Some(address) = address {
        // The name of the question, A, IN, for no time, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
