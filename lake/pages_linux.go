package lake

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// onLargePages asks the kernel for large pages under numbers that are to be filled in: a merge passes over tens of megabytes
// of them column after column, and with small pages a thirtieth of its time goes into their faults and into finding them.
// Where the system grants none, nothing is different.
func onLargePages(numbers []uint64) []uint64 {
	start := unsafe.Pointer(unsafe.SliceData(numbers))
	skip, size := -uintptr(start)&uintptr(os.Getpagesize()-1), 8*uintptr(len(numbers))
	if size > skip+largePage {
		_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Add(start, skip)), size-skip), unix.MADV_HUGEPAGE) // advice
	}
	return numbers
}

// largePage is one of x86-64 and of most arm64 kernels.
const largePage = 2 << 20
