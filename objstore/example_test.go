package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"fanwatch/objstore"
)

// A conditional Put takes a key once; every other writer of the key learns that it is taken.
func ExampleDir() {
	dir, err := os.MkdirTemp("", "objects")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	var store objstore.Store
	if store, err = objstore.OpenDir(dir); err != nil {
		panic(err)
	}
	ctx := context.Background()

	if err := store.Put(ctx, "log/after=0", []byte("first"), true); err != nil {
		panic(err)
	}
	if err := store.Put(ctx, "log/after=0", []byte("second"), true); errors.Is(err, objstore.ErrExists) {
		fmt.Println(err)
	}
	if err := store.Put(ctx, "log/after=7", []byte("next"), true); err != nil {
		panic(err)
	}
	for o, err := range store.List(ctx, "log/", "") {
		if err != nil {
			panic(err)
		}
		data, err := store.Get(ctx, o.Key)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s, %d bytes: %s\n", o.Key, o.Size, data)
	}
	// Output:
	// object exists already: log/after=0
	// log/after=0, 5 bytes: first
	// log/after=7, 4 bytes: next
}
