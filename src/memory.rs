//! How the memory of the process is had from the system.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

/// The system's allocator, but for large blocks, which are mapped each by itself, in large pages: those of a large graph are some
/// tens of MiB, and each small page of them would be asked for, cleared and looked up by itself. They go back when they are freed.
struct LargePages;

/// Blocks from this size on are large. Smaller ones come and go often, and are sooner used again than had anew.
const LARGE: usize = 4 << 20;

/// The bytes of a large page, on most systems.
const PAGE: usize = 2 << 20;

/// A multiple of the bytes of every system's small pages.
const SMALL_PAGE: usize = 64 << 10;

// SAFETY: a block is of `System` or mapped, by its layout alone, which is the same for all calls about a block. `System` keeps the
// contract. What is mapped is as long as was asked for, or longer, begins at a page of the system and is nobody else's.
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match is_large(layout) {
            true => map(layout.size()),
            // SAFETY: the caller's promise is the same.
            false => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match is_large(layout) {
            // The system gives zeros.
            true => map(layout.size()),
            // SAFETY: the caller's promise is the same.
            false => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match is_large(layout) {
            // SAFETY: these pages were mapped for this block.
            true => drop(unsafe { libc::munmap(block.cast(), whole(layout.size())) }),
            // SAFETY: it is of `System`.
            false => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: by the caller's promise it is the size of a layout, of this alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (is_large(layout), is_large(new)) {
            // SAFETY: it is of `System`.
            (false, false) => unsafe { System.realloc(block, layout, size) },
            // SAFETY: these pages were mapped for this block, and nobody uses it where it was.
            (true, true) => mapped(unsafe {
                libc::mremap(block.cast(), whole(layout.size()), whole(size), libc::MREMAP_MAYMOVE)
            }),
            // SAFETY: both are at least as long as what is copied, the new one is nobody else's, and the old one is not used again.
            _ => unsafe {
                let moved = self.alloc(new);
                if !moved.is_null() {
                    ptr::copy_nonoverlapping(block, moved, size.min(layout.size()));
                    self.dealloc(block, layout);
                }
                moved
            },
        }
    }
}

fn is_large(layout: Layout) -> bool {
    /// Every system's pages are a multiple of this.
    const ALIGNED: usize = 4 << 10;
    layout.size() >= LARGE && layout.align() <= ALIGNED
}

/// A size in whole small pages: at its end, a large one would be taken for little. No layout is so large that this would not be a
/// number.
fn whole(size: usize) -> usize {
    size.next_multiple_of(SMALL_PAGE)
}

/// New pages from where a large one may begin, or null if there are none. The system is advised of them before one is touched; it
/// may have no large ones.
fn map(size: usize) -> *mut u8 {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: nothing is mapped there yet, as the system chooses the place.
    let first = mapped(unsafe { libc::mmap(ptr::null_mut(), whole(size) + PAGE, access, kind, -1, 0) });
    if first.is_null() {
        return first;
    }
    let before = first.align_offset(PAGE);
    let block = first.wrapping_add(before);
    // SAFETY: before the block and behind it are pages that were mapped now, and that nobody has seen; of its own it is advice.
    unsafe {
        if before > 0 {
            libc::munmap(first.cast(), before);
        }
        if before < PAGE {
            libc::munmap(block.wrapping_add(whole(size)).cast(), PAGE - before);
        }
        libc::madvise(block.cast(), whole(size), libc::MADV_HUGEPAGE);
    }
    block
}

fn mapped(block: *mut libc::c_void) -> *mut u8 {
    if block == libc::MAP_FAILED { ptr::null_mut() } else { block.cast() }
}
