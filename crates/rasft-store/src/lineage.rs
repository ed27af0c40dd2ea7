//! From any table or checkpoint back to everything it was made of, by hash.

use crate::error::StoreError;
use crate::key::Key;
use crate::store::Store;
use rasft_data::{MANIFEST_FILE, Manifest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One thing and what it was made of.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LineageNode {
    /// Its role as an input; empty for the thing asked about.
    pub role: String,
    /// Content hash.
    pub hash: String,
    /// Stage that made it; none for what came from outside.
    pub place: Option<String>,
    /// Its key; none for what came from outside.
    pub key: Option<Key>,
    /// Where it is, or where it was when it was read.
    pub path: Option<PathBuf>,
    /// Its inputs; empty where `repeated`.
    pub inputs: Vec<LineageNode>,
    /// It stands, with its inputs, earlier in the tree.
    pub repeated: bool,
}

/// Entries by content hash and by the hashes of their files.
pub(crate) struct Index {
    by_hash: BTreeMap<String, (PathBuf, Manifest)>,
}

impl Index {
    /// The manifest of what has this hash.
    pub(crate) fn get(&self, hash: &str) -> Option<&(PathBuf, Manifest)> {
        self.by_hash.get(hash)
    }

    /// Places and keys of what has a hash that begins so.
    pub(crate) fn beginning_with(&self, prefix: &str) -> Vec<(String, Key)> {
        let from = self.by_hash.range(prefix.to_owned()..);
        let fits = from.take_while(|(hash, _)| hash.starts_with(prefix)).map(|(_, (_, manifest))| manifest);
        let found: BTreeSet<(String, Key)> =
            fits.filter_map(|m| Some((m.stage.clone(), Key::parse(&m.key).ok()?))).collect();
        found.into_iter().collect()
    }

    /// That a hash which begins so is known as an input alone.
    pub(crate) fn outside(&self, prefix: &str) -> Option<StoreError> {
        let users = self.by_hash.values().map(|(_, manifest)| manifest);
        let mut inputs = users.flat_map(|user| user.inputs.iter().map(move |(role, input)| (user, role, input)));
        let (user, role, input) = inputs.find(|(_, _, input)| input.hash.starts_with(prefix))?;
        let read = input.path.as_ref().map_or(String::new(), |path| format!(", read from {path}"));
        let key: String = user.key.chars().take(12).collect();
        let known_as = format!("{role} of `{}` {key}{read}", user.stage);
        Some(StoreError::Outside { what: prefix.to_owned(), known_as })
    }
}

impl Store {
    /// The tree of inputs of a data set, a checkpoint directory, a file in one, or an entry given by its key.
    ///
    /// # Errors
    /// When `what` is none of these, or its manifest is damaged.
    pub fn lineage(&self, what: &str) -> Result<LineageNode, StoreError> {
        let path = Path::new(what);
        let dir = if path.is_file() { path.parent().unwrap_or(Path::new("")).to_owned() } else { path.to_owned() };
        let dir = if dir.join(MANIFEST_FILE).is_file() {
            dir
        } else {
            let (place, key) = self.find(what)?;
            self.entry_path(&place, &key)?
        };
        let manifest = Manifest::read(&dir)?;
        let index = self.index()?;
        let hash = manifest.content_hash()?;
        node(String::new(), hash, &dir, &manifest, &index, &mut BTreeSet::new())
    }

    /// Reads every manifest of the store. Damaged ones are passed over; `verify` reports them.
    pub(crate) fn index(&self) -> Result<Index, StoreError> {
        let mut by_hash = BTreeMap::new();
        for place in self.places()? {
            for key in self.keys(&place)? {
                let path = self.entry_path(&place, &key)?;
                let Ok(manifest) = Manifest::read(&path) else { continue };
                // A file may lie in several entries (shards do); the first place in order keeps it.
                for (_, _, blake3) in manifest.all_files() {
                    by_hash.entry(blake3.to_owned()).or_insert_with(|| (path.clone(), manifest.clone()));
                }
                by_hash.insert(manifest.content_hash()?, (path, manifest));
            }
        }
        Ok(Index { by_hash })
    }
}

fn node(
    role: String,
    hash: String,
    path: &Path,
    manifest: &Manifest,
    index: &Index,
    seen: &mut BTreeSet<String>,
) -> Result<LineageNode, StoreError> {
    let repeated = !seen.insert(hash.clone());
    let mut inputs = Vec::new();
    for (role, input) in manifest.inputs.iter().filter(|_| !repeated) {
        inputs.push(match index.get(&input.hash) {
            Some((path, manifest)) => node(role.clone(), input.hash.clone(), path, manifest, index, seen)?,
            None => LineageNode {
                role: role.clone(),
                hash: input.hash.clone(),
                place: None,
                key: None,
                path: input.path.as_ref().map(PathBuf::from),
                inputs: Vec::new(),
                repeated: false,
            },
        });
    }
    let (place, key) = (Some(manifest.stage.clone()), Key::parse(&manifest.key).ok());
    Ok(LineageNode { role, hash, place, key, path: Some(path.to_owned()), inputs, repeated })
}
