//! How the memory of the process is had from the system.

use std::alloc::{GlobalAlloc, Layout, System};

/// Blocks from this size on are the system's own, and go back to it when they are freed.
const LARGE: usize = 4 << 20;

/// By itself glibc raises the threshold with every large block that is freed, and what is freed later stays with the process: up to a
/// tenth of what a large graph takes.
#[cfg(target_env = "gnu")]
pub fn fix_threshold() {
    // SAFETY: it takes two numbers, and there is one thread. Where it is refused, memory is as it was.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE as libc::c_int) };
}

#[cfg(not(target_env = "gnu"))]
pub fn fix_threshold() {}

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

/// The system's allocator, with large blocks in large pages: those of a large graph are some tens of MiB, and each small page of
/// them would be asked for, and looked up, by itself.
struct LargePages;

// SAFETY: every call is handed on to `System`, which keeps the contract, and what it gave is given back. The advice changes
// neither where a block is nor what is in it.
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        advised(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        advised(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        advised(unsafe { System.realloc(block, layout, size) }, size)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(block, layout) }
    }
}

/// The block. Where it is large, the system is advised of it, which may have no large pages, or not for everybody.
fn advised(block: *mut u8, size: usize) -> *mut u8 {
    /// No system has larger ones of the ordinary kind.
    const PAGE: usize = 64 << 10;
    if size < LARGE || block.is_null() {
        return block;
    }
    let skipped = block.align_offset(PAGE);
    if skipped < size {
        // SAFETY: these pages are inside of the block, and none is touched by this.
        unsafe {
            libc::madvise(block.add(skipped).cast(), (size - skipped) / PAGE * PAGE, libc::MADV_HUGEPAGE)
        };
    }
    block
}
