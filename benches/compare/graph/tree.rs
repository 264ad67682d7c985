//! A tree of files to hash or to restore.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

/// Files of many sizes, of bytes that are all different.
pub fn write_tree(dir: &Path, files: usize, bytes: usize) {
    let mean = bytes / files;
    (0..files).into_par_iter().for_each(|at| {
        let dir = dir.join(format!("d{}", at / 50));
        fs::create_dir_all(&dir).unwrap();
        // From half to three halves of the mean.
        let length = mean / 2 + mean * (at % 101) / 100;
        let mut content = vec![0; length];
        let mut state = at as u64 + 1;
        for chunk in content.chunks_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let length = chunk.len();
            chunk.copy_from_slice(&state.to_le_bytes()[..length]);
        }
        fs::write(dir.join(format!("f{at}")), content).unwrap();
    });
}

pub fn files_of(dir: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
    entries.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
}
