package testsuite

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// A stop is a place that a reading, or what comes of it, passes on its way from the tacho to a page.
type stop struct {
	file  string // from the project's root
	entry string // the function or method that it enters by: name, or receiver type and name
	does  string // one line for the picture
}

// An arrow leads from one stop to the next.
type arrow struct {
	from, to string // entries
	carries  string // the type that travels
	via      string // the name that the file of from calls it by
	over     string // the network or service between the two; "" = a call within the process
}

var stops = []stop{
	{"edge/tach.go", "Tach.Window", "edges become a reading"},
	{"edge/node.go", "Node.take", "numbers it"},
	{"edge/spool.go", "Spool.Append", "keeps it on disk until its PUBACK"},
	{"edge/publisher.go", "session.send", "batches and publishes"},
	{"local/aws/iotcore/broker.go", "broker.OnPublish", "authenticates; PUBACK after the rule"},
	{"local/aws/iotcore/rules.go", "engine.run", "the rule adds client ID and time"},
	{"cloud/kinesis_reader.go", "Reader.Next", "reads a shard"},
	{"workers/aws.go", "shardReader.Next", "joins AWS to the activities"},
	{"activities/score.go", "Scorer.ScoreShard", "one long activity per shard"},
	{"wire.go", "DecodeRecord", "decodes envelope, legacy object, device"},
	{"detect/models.go", "Models.Feed", "duplicates, quarantine, silence"},
	{"detect/rules.go", "fan.hard", "hard rules"},
	{"rcf/forest.go", "Forest.Score", "the forest's score"},
	{"activities/land.go", "lander.run", "hands sealed windows to the log"},
	{"lake/log.go", "Log.Append", "the checkpoint: PUT If-None-Match"},
	{"lake/commit.go", "Table.Commit", "the committer moves segments into tables"},
	{"lake/compact.go", "Table.PlanCompaction", "small files become large ones"},
	{"dashboard/follow.go", "Server.Follow", "the page reads the log's end"},
	{"activities/tell.go", "teller.run", "one signal at a time and fan"},
	{"operator/observe.go", "Operator.Observe", "signals the fan's workflow"},
	{"workflows/fan.go", "Fan", "owns the fan; opens its alert"},
	{"workflows/alert.go", "Alert", "escalates until acknowledged and over"},
	{"workflows/alert_tell.go", "alert.send", "one coroutine per notification"},
	{"activities/notify.go", "Notifier.Notify", "writes the message"},
	{"cloud/sns.go", "SNS.Publish", "tells people"},
}

var arrows = []arrow{
	{"Tach.Window", "Node.take", "fanwatch.Reading", "Reading", ""},
}

// flowStart and flowEnd enclose the picture in ARCHITECTURE.md.
const (
	flowStart = "<!-- The picture is made by FANWATCH_PICTURE=1 go test ./testsuite -run TestThePictureOfTheFlow -->\n"
	flowEnd   = "<!-- end of the picture -->\n"
)

func TestThePictureOfTheFlowIsOfTheCode(t *testing.T) {
	files := map[string]*ast.File{}
	byEntry := map[string]stop{}
	for _, s := range stops {
		file, err := parser.ParseFile(token.NewFileSet(), s.file, read(t, s.file), 0)
		if err != nil {
			t.Fatal(err)
		}
		files[s.entry], byEntry[s.entry] = file, s
		if !declares(file, s.entry) {
			t.Errorf("%s declares no %s", s.file, s.entry)
		}
	}
	for _, a := range arrows {
		from, to := files[a.from], files[a.to]
		if from == nil || to == nil {
			t.Fatalf("the arrow from %s to %s: not both are stops", a.from, a.to)
		}
		if !mentions(from, a.via) {
			t.Errorf("%s does not mention %s, by which it is to hand on to %s", byEntry[a.from].file, a.via, a.to)
		}
	}
	picture := flowStart + draw() + flowEnd
	text := read(t, "ARCHITECTURE.md")
	before, rest, found := strings.Cut(text, flowStart)
	_, after, ended := strings.Cut(rest, flowEnd)
	if !found || !ended {
		t.Fatalf("ARCHITECTURE.md has no place for the picture: %q and %q", flowStart, flowEnd)
	}
	if now := before + picture + after; now != text {
		if os.Getenv("FANWATCH_PICTURE") == "" {
			t.Fatal("ARCHITECTURE.md does not show this flow: FANWATCH_PICTURE=1 go test ./testsuite -run TestThePictureOfTheFlow")
		}
		if err := os.WriteFile("../ARCHITECTURE.md", []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// draw returns the flow as a Mermaid flowchart. Dashed arrows cross a network.
func draw() string {
	var b strings.Builder
	b.WriteString("```mermaid\nflowchart TD\n")
	number := map[string]int{}
	for n, s := range stops {
		number[s.entry] = n
		fmt.Fprintf(&b, "  s%d[\"<b>%s</b> %s<br/>%s\"]\n", n, s.file, s.entry, s.does)
	}
	for _, a := range arrows {
		if a.over == "" {
			fmt.Fprintf(&b, "  s%d -->|\"%s\"| s%d\n", number[a.from], a.carries, number[a.to])
		} else {
			fmt.Fprintf(&b, "  s%d -.->|\"%s over %s\"| s%d\n", number[a.from], a.carries, a.over, number[a.to])
		}
	}
	b.WriteString("```\n")
	return b.String()
}

func declares(file *ast.File, entry string) bool {
	receiver, name, method := strings.Cut(entry, ".")
	if !method {
		name = receiver
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != name || method != (f.Recv != nil) {
			continue
		}
		if !method || receiverName(f.Recv.List[0].Type) == receiver {
			return true
		}
	}
	return false
}

func receiverName(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.StarExpr:
		return receiverName(t.X)
	case *ast.IndexExpr:
		return receiverName(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}

func mentions(file *ast.File, name string) bool {
	found := false
	ast.Inspect(file, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		found = found || ok && id.Name == name
		return !found
	})
	return found
}
