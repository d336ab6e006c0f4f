package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"fanwatch/local/servers/child"

	"go.temporal.io/server/common/config"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/schema/sqlite"
	"google.golang.org/protobuf/types/known/durationpb"
)

// createDatabase writes the schema if file does not exist. It builds the database beside it and renames, so that a
// process killed half-way leaves no database without tables.
func createDatabase(file string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	draft := file + ".new"
	if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Unjournaled and unsynced is safe here and 100 times faster: the draft counts only once it is synced and renamed.
	err := sqlite.SetupSchema(&config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: escape(draft),
		ConnectAttributes: map[string]string{
			"mode": "rwc", "journal_mode": "memory", "synchronous": "0",
		},
	})
	if err != nil {
		return err
	}
	if err := syncFile(draft); err != nil {
		return err
	}
	if err := os.Rename(draft, file); err != nil {
		return err
	}
	return child.SyncDir(dir)
}

// createNamespace registers the namespace with its retention and search attributes unless it exists. Only a new
// namespace takes them here; attributes.register adds later ones through the server.
func createNamespace(db *config.SQL, o options) error {
	ns, err := sqlite.NewNamespaceConfig(clusterName, o.namespace, false, o.attributes)
	if err != nil {
		return fmt.Errorf("namespace %s: %w", o.namespace, err)
	}
	ns.Detail.Config.Retention = durationpb.New(o.retention)
	if err := sqlite.CreateNamespaces(db, ns); err != nil {
		if strings.Contains(err.Error(), "database is locked") {
			return fmt.Errorf("another process has it open: stop the other server, or give this one its own --db (%w)", err)
		}
		return fmt.Errorf("namespace %s: %w", o.namespace, err)
	}
	return nil
}

// escape makes a path safe inside the file: URI that the SQLite plugin builds around it, which it does not quote.
// See https://www.sqlite.org/uri.html, section 3.1.
func escape(path string) string {
	return strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(filepath.ToSlash(path))
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
