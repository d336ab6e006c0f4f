package lake

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"fanwatch/lake/rowfile"
)

// TestTheTableHasTheColumnsOfItsFiles: files are read by the table's field IDs.
func TestTheTableHasTheColumnsOfItsFiles(t *testing.T) {
	row, schema := reflect.TypeFor[rowfile.Row](), tableSchema()
	if row.NumField() != schema.NumFields() {
		t.Fatalf("%d columns of a row, %d fields of the table", row.NumField(), schema.NumFields())
	}
	for i, field := range schema.Fields() {
		want := fmt.Sprintf("%s,id(%d),", field.Name, field.ID)
		if tag := row.Field(i).Tag.Get("parquet") + ","; !strings.HasPrefix(tag, want) {
			t.Errorf("column %q, want one that begins with %q", tag, want)
		}
	}
}
