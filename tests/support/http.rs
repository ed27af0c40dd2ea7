//! A web server on loopback whose every answer, good or bad, the test decides.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What a client asked.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub method: String,
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Asked {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What it gets.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Status, further header lines, body.
    Full(u16, Vec<String>, Vec<u8>),
    /// A status, a head that promises so many bytes, further header lines, and fewer bytes; then the connection is cut.
    Cut(u16, usize, Vec<String>, Vec<u8>),
    /// The connection is cut without a word.
    Silence,
    /// A head that promises so many bytes, and fewer of them; then nothing until the client goes away.
    Stall(usize, Vec<u8>),
}

impl Reply {
    pub fn json(value: serde_json::Value) -> Self {
        Self::Full(200, Vec::new(), value.to_string().into_bytes())
    }

    pub fn status(status: u16, body: &str) -> Self {
        Self::Full(status, Vec::new(), body.into())
    }

    pub fn with_header(self, line: &str) -> Self {
        match self {
            Self::Full(status, mut lines, body) => {
                lines.push(line.to_owned());
                Self::Full(status, lines, body)
            }
            other => other,
        }
    }
}

/// A running server; it ends with the test.
pub struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    ended: Arc<AtomicBool>,
}

impl Server {
    /// Answers every request, each on a thread of its own.
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        let (asked, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, stop, answer) = (Arc::clone(&asked), Arc::clone(&ended), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                std::thread::spawn(move || serve(&stream?, &log, &*answer));
            }
        });
        Self { address, asked, ended }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Every request so far, in order of arrival.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test thread panics with the lock").clone()
    }

    /// Requests whose path contains this.
    pub fn asked_of(&self, part: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|a| a.path.contains(part)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(stream: &TcpStream, log: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Reply) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let Some(asked) = read(&mut reader)? else { return Ok(()) };
    log.lock().expect("no test thread panics with the lock").push(asked.clone());
    let mut writer = stream;
    match answer(&asked) {
        Reply::Full(status, lines, body) => {
            write!(writer, "{}", head(status, &lines, body.len()))?;
            writer.write_all(&body)?;
        }
        Reply::Cut(status, promised, lines, body) => {
            write!(writer, "{}", head(status, &lines, promised))?;
            writer.write_all(&body)?;
        }
        Reply::Silence => {}
        Reply::Stall(promised, body) => {
            write!(writer, "{}", head(200, &[], promised))?;
            writer.write_all(&body)?;
            writer.flush()?;
            // Returns when the client closes its end.
            std::io::copy(&mut reader, &mut std::io::sink())?;
        }
    }
    writer.flush()
}

fn head(status: u16, lines: &[String], length: usize) -> String {
    let more: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n")
}

fn read(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut asked =
        Asked { method: words.next().unwrap_or_default(), path: words.next().unwrap_or_default(), ..Asked::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        asked.headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = asked.headers.get("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    asked.body = vec![0; length];
    reader.read_exact(&mut asked.body)?;
    Ok(Some(asked))
}
