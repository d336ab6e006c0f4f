package lake

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	icebergsql "github.com/apache/iceberg-go/catalog/sql"
	"modernc.org/sqlite" // the driver "sqlite", in pure Go
	sqlite3 "modernc.org/sqlite/lib"

	"fanwatch/internal/durable"
)

// CatalogName is the name of the catalog. A SQL catalog stores it in each of its rows, so a reader of the SQLite file
// must use the same name or finds no table.
const CatalogName = "fanwatch"

// OpenSQLite opens an Iceberg catalog in a SQLite file, for one machine; several processes may share it. files are the
// properties by which Iceberg reaches the table's files, such as s3.endpoint; nil for a directory. The returned
// function closes the file.
func OpenSQLite(path string, files iceberg.Properties) (catalog.Catalog, func() error, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, fmt.Errorf("catalog %s: %w", path, err)
	}
	if err := durable.MkdirAll(filepath.Dir(abs), 0o755); err != nil {
		return nil, nil, fmt.Errorf("catalog: %w", err)
	}
	// synchronous=full: a commit survives a power cut, as the landing log does.
	dsn := url.URL{Scheme: "file", Path: abs,
		RawQuery: "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(full)&_txlock=immediate"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, nil, fmt.Errorf("catalog %s: %w", path, err)
	}
	for try := 0; ; try++ {
		cat, err := icebergsql.NewCatalog(CatalogName, db, icebergsql.SQLite, files)
		if err == nil {
			return cat, db.Close, nil
		}
		// A new file changes to WAL under a lock that ignores the busy timeout.
		var busy *sqlite.Error
		if try == 100 || !errors.As(err, &busy) || busy.Code()&0xff != sqlite3.SQLITE_BUSY {
			_ = db.Close()
			return nil, nil, fmt.Errorf("catalog %s: %w", path, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
