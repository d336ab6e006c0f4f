package awscatalog

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

func TestOpenNamesTheCatalogsThatItKnows(t *testing.T) {
	if _, err := Open(context.Background(), aws.Config{}, Settings{Kind: "hive"}); err == nil ||
		!strings.Contains(err.Error(), "glue, rest") {
		t.Errorf("got %v", err)
	}
	if _, err := Open(context.Background(), aws.Config{Region: "eu-central-1"},
		Settings{Kind: "glue"}); err != nil {
		t.Errorf("Glue: %v", err)
	}
}
