//! One file over the wire into the cache: named by its ETag, taken up where it was broken off, checked, then linked.
//!
//! Large files are redirected to another host, which gets no token; their ETag is the SHA-256 of the content, which is
//! checked. The ETag becomes a file name only if it is a plain one. A lock keeps two processes off one file.

use super::fetch::Watch;
use super::{HubSettings, spec};
use crate::endpoint::{causes, retry_after};
use crate::{RemoteError, Secret};
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use sha2::{Digest as _, Sha256};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The longest list of files.
const MOST_SMALL: usize = 16 << 20;
const REDIRECTS: usize = 5;
/// How often a waiting process looks whether a file's lock is free.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why there is no file yet.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The hub says no, for good.
    Status(u16),
    /// Another try may do better, after the pause that the hub asks for.
    Passing(String, Option<Duration>),
    /// No further try can help.
    Final(String),
    /// The cache cannot be written.
    Disk(PathBuf, io::Error),
}

pub(super) struct Transfer<'a> {
    client: Client,
    token: Option<Secret>,
    watch: &'a dyn Watch,
}

/// A file that is coming; it has ended when this is dropped, which a download that is broken off is too.
struct Shown<'a>(&'a dyn Watch);

impl<'a> Shown<'a> {
    fn file(watch: &'a dyn Watch, name: &str, bytes: u64) -> Self {
        watch.file(name, bytes);
        Self(watch)
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.done();
    }
}

/// Where a file's content is, and what it is called in the cache.
struct Found {
    response: Response,
    etag: String,
    bytes: Option<u64>,
}

impl<'a> Transfer<'a> {
    pub(super) fn new(settings: &HubSettings, watch: &'a dyn Watch) -> Result<Self, RemoteError> {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .connect_timeout(settings.stall)
            .read_timeout(settings.stall)
            .user_agent(concat!("rasft/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| RemoteError::Client(causes(&e)))?;
        Ok(Self { client, token: settings.token.clone(), watch })
    }

    /// A small answer.
    pub(super) async fn small(&self, url: &str) -> Result<Vec<u8>, Trouble> {
        let (mut response, _) = self.ask(url, 0).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(passing)? {
            body.extend_from_slice(&chunk);
            if body.len() > MOST_SMALL {
                return Err(Trouble::Final("an endless answer".into()));
            }
        }
        Ok(body)
    }

    /// A file into `blobs`, with a link to it in the snapshot.
    pub(super) async fn file(&self, url: &str, snapshot: &Path, name: &str) -> Result<(), Trouble> {
        let blobs = snapshot.join("../../blobs");
        for dir in [snapshot, &blobs] {
            std::fs::create_dir_all(dir).map_err(|e| Trouble::Disk(dir.to_path_buf(), e))?;
        }
        let found = self.find(url, 0).await?;
        let blob = blobs.join(&found.etag);
        if !blob.is_file() {
            self.blob(url, found, &blob, name).await?;
        }
        let link = snapshot.join(name);
        let target = Path::new("../../blobs").join(blob.file_name().unwrap_or_default());
        match std::os::unix::fs::symlink(target, &link) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(Trouble::Disk(link, e)),
            _ => Ok(()),
        }
    }

    async fn blob(&self, url: &str, found: Found, blob: &Path, name: &str) -> Result<(), Trouble> {
        let partial = blob.with_file_name(format!("{}.incomplete", found.etag));
        let disk = |e| Trouble::Disk(partial.clone(), e);
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(&partial).map_err(disk)?;
        self.lock(&file, name).await.map_err(disk)?;
        if blob.is_file() {
            return Ok(()); // Another process has fetched it meanwhile.
        }
        let (etag, bytes) = (found.etag.clone(), found.bytes);
        let mut have = file.metadata().map_err(disk)?.len();
        if bytes.is_some_and(|whole| have > whole) {
            file.set_len(0).map_err(disk)?;
            have = 0;
        }
        // Of a file that is all there no rest can be asked for: only the check was missing.
        if have == 0 || bytes != Some(have) {
            let response =
                if have == 0 { found.response } else { self.rest(url, &found, have, &file, &partial).await? };
            if response.status() != StatusCode::PARTIAL_CONTENT {
                file.set_len(0).map_err(disk)?;
                have = 0;
            }
            let _shown = Shown::file(self.watch, name, bytes.unwrap_or(0));
            self.watch.advance(have);
            self.receive(response, &mut file, &partial).await?;
        }
        checked(&mut file, &etag, bytes, &partial)?;
        file.sync_all().map_err(disk)?;
        std::fs::rename(&partial, blob).map_err(disk)
    }

    /// Waits for a process that fetches the same file, between the looks of whoever may end it.
    async fn lock(&self, file: &File, name: &str) -> io::Result<()> {
        let mut said = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(e)) => return Err(e),
                Err(TryLockError::WouldBlock) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!("{name}: another process fetches it; waiting for that");
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
    }

    /// The bytes behind the first `have`. Where there are none, or others are given, the file is begun anew.
    async fn rest(&self, url: &str, whole: &Found, have: u64, file: &File, path: &Path) -> Result<Response, Trouble> {
        let anew = |why: String| match file.set_len(0) {
            Ok(()) => Trouble::Passing(why, None),
            Err(e) => Trouble::Disk(path.to_path_buf(), e),
        };
        let found = match self.find(url, have).await {
            Err(Trouble::Status(416)) => return Err(anew(format!("status 416 for the rest after {have} bytes"))),
            found => found?,
        };
        let starts = text(found.response.headers(), &CONTENT_RANGE).as_deref().and_then(range_start);
        if found.response.status() == StatusCode::PARTIAL_CONTENT && starts != Some(have) {
            return Err(anew(format!("the rest after {have} bytes begins elsewhere")));
        }
        if found.etag != whole.etag {
            return Err(anew("the file has changed meanwhile".into()));
        }
        Ok(found.response)
    }

    async fn receive(&self, mut response: Response, file: &mut File, path: &Path) -> Result<(), Trouble> {
        while let Some(chunk) = response.chunk().await.map_err(passing)? {
            file.write_all(&chunk).map_err(|e| Trouble::Disk(path.to_path_buf(), e))?;
            self.watch.advance(chunk.len() as u64);
            if !self.watch.keep_going() {
                return Err(Trouble::Final("interrupted".into()));
            }
        }
        Ok(())
    }

    /// Asks for a file from byte `from` on.
    async fn find(&self, url: &str, from: u64) -> Result<Found, Trouble> {
        let (response, etag) = self.ask(url, from).await?;
        let etag = etag.filter(|tag| spec::is_plain_name(tag));
        let etag = etag.ok_or_else(|| Trouble::Final("the hub gives no usable ETag".into()))?;
        let bytes = text(response.headers(), &CONTENT_LENGTH).and_then(|n| n.parse().ok());
        Ok(Found { response, etag, bytes })
    }

    /// GET along redirects; the token goes to the hub's own host only, the ETag is the one that the hub tells first.
    async fn ask(&self, url: &str, from: u64) -> Result<(Response, Option<String>), Trouble> {
        let unusable = |why: String| Trouble::Final(why);
        let first = Url::parse(url).map_err(|e| unusable(e.to_string()))?;
        let (mut url, mut etag) = (first.clone(), None);
        for _ in 0..=REDIRECTS {
            let mut request = self.client.get(url.clone());
            if let Some(token) = self.token.as_ref().filter(|_| url.origin() == first.origin()) {
                request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
            }
            if from > 0 {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            let response = request.send().await.map_err(passing)?;
            let headers = response.headers();
            let linked = HeaderName::from_static("x-linked-etag");
            etag = etag
                .or_else(|| text(headers, &linked))
                .or_else(|| text(headers, &ETAG).filter(|_| !response.status().is_redirection()));
            match response.status() {
                status if status.is_success() => return Ok((response, etag.map(|tag| plain_tag(&tag)))),
                status if status.is_redirection() => {
                    let next = text(headers, &LOCATION).and_then(|to| url.join(&to).ok());
                    url = next
                        .filter(|to| matches!(to.scheme(), "http" | "https"))
                        .ok_or_else(|| unusable("a redirect that leads nowhere".to_owned()))?;
                }
                status if status.is_server_error() || matches!(status.as_u16(), 408 | 429) => {
                    let date = text(headers, &DATE);
                    let pause = text(headers, &RETRY_AFTER)
                        .and_then(|value| retry_after(&value, date.as_deref(), SystemTime::now()));
                    return Err(Trouble::Passing(format!("status {}", status.as_u16()), pause));
                }
                status => return Err(Trouble::Status(status.as_u16())),
            }
        }
        Err(unusable("too many redirects".to_owned()))
    }
}

/// Refuses a file that is too short or is not what its name says; what is wrong is thrown away.
fn checked(file: &mut File, etag: &str, bytes: Option<u64>, path: &Path) -> Result<(), Trouble> {
    let disk = |e| Trouble::Disk(path.to_path_buf(), e);
    let have = file.metadata().map_err(disk)?.len();
    if let Some(bytes) = bytes.filter(|bytes| have < *bytes) {
        return Err(Trouble::Passing(format!("broken off after {have} of {bytes} bytes"), None));
    }
    let is_sha = etag.len() == 64 && etag.bytes().all(|b| b.is_ascii_hexdigit());
    if is_sha && sha256(file).map_err(disk)? != etag.to_lowercase() {
        file.set_len(0).map_err(disk)?;
        return Err(Trouble::Passing("the content is not what its checksum says".into(), None));
    }
    Ok(())
}

fn sha256(file: &mut File) -> io::Result<String> {
    file.rewind()?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned)
}

/// `W/"abc"` → `abc`.
fn plain_tag(tag: &str) -> String {
    tag.trim_start_matches("W/").trim_matches('"').to_owned()
}

/// `bytes 5-9/10` → 5.
fn range_start(range: &str) -> Option<u64> {
    range.trim().strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

/// Without the address: that of large files is signed, which is as good as a password for a while.
fn passing(error: reqwest::Error) -> Trouble {
    let still = if error.is_timeout() { "the download stands still: " } else { "" };
    Trouble::Passing(format!("{still}{}", causes(&error.without_url())), None)
}
