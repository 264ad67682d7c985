use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use super::lookup::{Addition, complete};
use super::update::update;
use super::words::Words;
use super::{CacheAccess, CommandError, Global, error};
use crate::buildfile::{self, Buildfile, Faults};
use crate::graph::{self, Graph, NodeId};
use crate::matrix::Axes;
use crate::plan::{LocalTrees, Planner};
use crate::store::{Access, LocalStore, RemoteStore, ResultIndex, Said, StatCache};
use crate::upstream::Lock;

/// Everything that is read before a plan can be made.
pub struct Workspace {
    /// All nodes of the selection. To take them apart at the end of the process would serve nobody.
    pub graph: ManuallyDrop<Graph>,
    /// The local store.
    pub store: Arc<LocalStore>,
    /// The shared cache, if the Buildfile names one and it is used.
    pub remote: Option<RemoteStore>,
    /// What was looked at to find all this out: files, and directories in which files were looked for.
    pub looked_at: Vec<PathBuf>,
    /// Whether anything was told beside.
    pub has_warned: bool,
    /// What results give, for the first plan.
    results: Mutex<Option<ResultIndex>>,
    /// Where the lock is.
    lock: PathBuf,
    /// What is selected, was not in the lock, and was found upstream.
    additions: Vec<Addition>,
}

impl Workspace {
    /// Reads the Buildfile and the lock, expands the matrix, and opens the store. Versions that are
    /// selected and not in the lock are looked up; the lock on disk stays as it is. Warnings are told.
    pub fn open(global: &Global, words: &Words) -> Result<Self, CommandError> {
        Self::with_lock(global, words, |_, _, _| Ok(()))
    }

    /// The same, with the lock as `forge update` would leave it. It tells what that changes.
    pub fn open_updated(global: &Global, words: &Words) -> Result<Self, CommandError> {
        Self::with_lock(global, words, |buildfile, store, lock| {
            // The words are of the plan: they limit what is built, not what is looked for.
            let all = Words::default();
            let before = lock.clone();
            let told = update(buildfile, store, None, &all, lock)?;
            let end = if *lock == before { "no news upstream\n" } else { "" };
            eprint!("{told}{end}");
            Ok(())
        })
    }

    fn with_lock(
        global: &Global,
        words: &Words,
        prepare: impl FnOnce(&Buildfile, &LocalStore, &mut Lock) -> Result<(), CommandError>,
    ) -> Result<Self, CommandError> {
        // It is not made for a Buildfile that cannot be read.
        let memory = global.store.is_dir().then(|| LocalStore::open(&global.store)).transpose()?;
        let (buildfile, mut lock, mut has_warned) = read_and_warn(global, memory.as_ref())?;
        let mut buildfile = ManuallyDrop::new(buildfile);
        let store = Arc::new(memory.map_or_else(|| LocalStore::open(&global.store), Ok)?);
        prepare(&buildfile, &store, &mut lock)?;
        let additions = complete(&buildfile, &store, words, &mut lock)?;
        let axes = ManuallyDrop::new(Axes::resolve(&buildfile, &lock, &words.selection)?);
        // The graph is made on one core.
        let (built, results) = thread::scope(|scope| {
            let results = scope.spawn(|| ResultIndex::load(&store));
            (graph::build(&buildfile, &axes, &lock), results.join().ok())
        });
        let (graph, warnings) = built?;
        // A rule that a narrow selection does not touch is not idle.
        if words.selection.is_empty() && buildfile.choice.is_empty() {
            warnings.iter().for_each(error::print);
            has_warned |= !warnings.is_empty();
        }
        let lock = buildfile.dir.join(&buildfile.lock);
        let lock = lock.strip_prefix(".").map(Path::to_owned).unwrap_or(lock);
        let remote = remote(global, &buildfile, &store);
        let looked_at = std::mem::take(&mut buildfile.looked_at).into_iter().chain([lock.clone()]).collect();
        let graph = ManuallyDrop::new(graph);
        let results = Mutex::new(results);
        Ok(Self { graph, store, remote, looked_at, has_warned, results, lock, additions })
    }

    /// Whether nothing was asked of anybody upstream, and the shared cache was left alone.
    pub fn is_of_files(&self) -> bool {
        self.additions.is_empty() && self.remote.is_none()
    }

    /// Writes what was looked up into the lock, which may have changed since; nothing else in it does.
    pub fn keep_additions(&self) -> Result<(), CommandError> {
        if self.additions.is_empty() {
            return Ok(());
        }
        let mut lock = Lock::load(&self.lock)?;
        for Addition { upstream, locked } in &self.additions {
            match lock.version(upstream, &locked.version).filter(|known| known.is_available()) {
                Some(known) if known != locked => {
                    let file = self.lock.display();
                    let message = format!("{file} got another {upstream} {} meanwhile", locked.version);
                    return Err(CommandError::new(message + "; run again"));
                }
                _ => lock.put(upstream, locked.clone()),
            }
            tell(&format!("{}: added {upstream} {}", self.lock.display(), locked.version));
        }
        Ok(lock.save(&self.lock)?)
    }

    /// Plans with all that is known here and in the shared cache.
    pub fn planner<'a>(&'a self, files: &'a LocalTrees<'a>) -> Planner<'a> {
        let (graph, store, remote) = (&self.graph, &self.store, self.remote.as_ref());
        Planner { graph, store, files, remote, results: &self.results }
    }

    /// Tells what the shared cache has to say.
    pub fn tell_said(&self) {
        self.remote.iter().for_each(tell_said);
    }

    /// Keeps what this process learnt of local files. Without it they are read once more.
    pub fn remember(&self, stats: StatCache) {
        if let Err(error) = stats.save(&self.store) {
            eprintln!("the next plan reads all local files again: {error}");
        }
    }

    /// Refuses goals that the lock does not say enough about.
    pub fn require_locked(&self, goals: &[NodeId]) -> Result<(), CommandError> {
        let needed = match self.graph.faulty() {
            [] => return Ok(()),
            _ => self.graph.closure(goals),
        };
        let faults: Vec<_> = needed.iter().filter_map(|id| self.graph.node(*id).fault().cloned()).collect();
        match faults.is_empty() {
            true => Ok(()),
            false => Err(Faults { errors: faults }.into()),
        }
    }
}

/// The Buildfile and its lock; warnings are told.
pub fn read(global: &Global) -> Result<(Buildfile, Lock), CommandError> {
    read_and_warn(global, None).map(|(buildfile, lock, _)| (buildfile, lock))
}

/// The same, and whether there were warnings.
fn read_and_warn(
    global: &Global,
    memory: Option<&LocalStore>,
) -> Result<(Buildfile, Lock, bool), CommandError> {
    let (buildfile, warnings) = buildfile::load(&global.file, global.profile.as_deref(), memory)?;
    warnings.iter().for_each(error::print);
    let lock = Lock::load(&buildfile.dir.join(&buildfile.lock))?;
    Ok((buildfile, lock, !warnings.is_empty()))
}

/// The shared cache, as far as the Buildfile and this call allow. One that cannot be used at all is told, and
/// done without.
pub fn remote(global: &Global, buildfile: &Buildfile, store: &Arc<LocalStore>) -> Option<RemoteStore> {
    let cache = buildfile.cache.as_ref()?;
    let read = cache.read && matches!(global.cache_access, CacheAccess::ReadWrite | CacheAccess::Read);
    let write = cache.write && matches!(global.cache_access, CacheAccess::ReadWrite | CacheAccess::Write);
    if !read && !write {
        return None;
    }
    let mut location = cache.location.clone();
    location.service.ca = location.service.ca.map(|ca| buildfile.dir.join(ca));
    let opened = RemoteStore::open(location, Access { read, write }, cache.expires, store.clone());
    opened.inspect_err(|error| tell(&format!("the shared cache is not used: {error}"))).ok()
}

/// Tells what the shared cache has to say.
pub fn tell_said(remote: &RemoteStore) {
    for said in remote.take_said() {
        if let Said::Notice(text) = said {
            tell(&text);
        }
    }
}

/// Tells what takes its time, or what a person should know beside the answer.
pub fn tell(text: &str) {
    eprintln!("{text}");
}
