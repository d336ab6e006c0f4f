package workers

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fanwatch/lake"
	"fanwatch/objstore"
)

// TestTablesAreOpenedWhenTheyAreNeeded: a catalog that is away fails each call with the reason, and no call before
// or after; when it is back they are opened once and closed once. A reader makes no table.
func TestTablesAreOpenedWhenTheyAreNeeded(t *testing.T) {
	dir := t.TempDir()
	store, err := objstore.OpenDir(filepath.Join(dir, "objects"))
	if err != nil {
		t.Fatal(err)
	}
	away, opened, closed := true, 0, 0
	open := func(how func(context.Context, lake.TableConfig) (*lake.Tables, error)) *handle {
		return newHandle(func(ctx context.Context) (*lake.Tables, func() error, error) {
			if away {
				return nil, nil, errors.New("the catalog does not answer")
			}
			cat, done, err := lake.OpenSQLite(filepath.Join(dir, "catalog.db"), nil)
			if err != nil {
				return nil, nil, err
			}
			tables, err := how(ctx, lake.TableConfig{Catalog: cat, Store: store, Location: "file://" + store.Root()})
			if err != nil {
				return nil, nil, errors.Join(err, done())
			}
			opened++
			return tables, func() error { closed++; return done() }, nil
		})
	}
	lazy := &Tables{read: open(lake.ReadTables), change: open(lake.OpenTables)}
	query := func() error {
		parts, err := lazy.Query(t.Context(), "fan-a", time.Unix(0, 0), time.Unix(10, 0), 10)
		if len(parts) > 0 {
			t.Errorf("%+v", parts)
		}
		return err
	}
	for range 2 {
		if _, err := lazy.Open(t.Context(), true); err == nil ||
			err.Error() != "the lake's tables cannot be opened: the catalog does not answer" {
			t.Errorf("%v", err)
		}
		if err := query(); err == nil || !strings.Contains(err.Error(), "the catalog does not answer") {
			t.Errorf("%v", err)
		}
	}
	away = false
	if err := query(); err != nil || opened != 0 {
		t.Errorf("before the first commit: %v, %d opened", err, opened)
	}
	if _, err := lazy.Open(t.Context(), false); !errors.Is(err, lake.ErrNoTable) {
		t.Errorf("%v", err)
	}
	for range 2 {
		if _, err := lazy.Open(t.Context(), true); err != nil {
			t.Error(err)
		}
		if err := query(); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(lazy.Close(), lazy.Close()); err != nil || opened != 2 || closed != 2 {
		t.Errorf("%d opened, %d closed, %v", opened, closed, err)
	}
}

// TestAWaitForTheTablesEndsWithItsContext: one call hangs in the catalog, another waits no longer than its own context.
func TestAWaitForTheTablesEndsWithItsContext(t *testing.T) {
	hanging := make(chan struct{})
	h := newHandle(func(ctx context.Context) (*lake.Tables, func() error, error) {
		close(hanging)
		<-ctx.Done()
		return nil, nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := h.get(ctx)
		done <- err
	}()
	<-hanging
	brief, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	if _, err := h.get(brief); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
