package testsuite

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
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
	via      string // the name by which it is called
	over     string // the network or service between the two; "" = a call within the process
	in       string // the file that makes the call; "" = the file of from
}

var stops = []stop{
	{"edge/tach.go", "Tach.Window", "edges become a reading"},
	{"edge/node.go", "Node.take", "gives it run and seq"},
	{"edge/spool.go", "Spool.Append", "keeps it on disk until its PUBACK"},
	{"edge/publisher.go", "session.send", "batches and publishes"},
	{"local/aws/iotcore/broker.go", "broker.OnPublish", "authenticates; PUBACK after the rule"},
	{"local/aws/iotcore/rules.go", "engine.run", "the rule adds client ID and time"},
	{"cloud/kinesis_reader.go", "Reader.Next", "reads one shard"},
	{"workers/aws.go", "shardReader.Next", "joins AWS to the activities"},
	{"activities/score.go", "Scorer.ScoreShard", "one long activity for each shard"},
	{"wire.go", "DecodeRecord", "decodes what a publisher sent"},
	{"detect/models.go", "Models.Feed", "duplicates, quarantine, order"},
	{"detect/judge/judge.go", "Fan.Judge", "what was expected, what is wrong"},
	{"rcf/forest.go", "Forest.Score", "the forest's score"},
	{"activities/land.go", "lander.run", "appends sealed windows"},
	{"lake/landing/log.go", "Log.Append", "the checkpoint: PUT If-None-Match"},
	{"lake/tables.go", "Tables.Commit", "the committer fills the tables"},
	{"lake/tables.go", "Tables.PlanCompaction", "merges small files"},
	{"dashboard/follow.go", "Server.Follow", "the page follows the log"},
	{"activities/pending.go", "pendingObservations.add", "decides what has to be said"},
	{"activities/sender.go", "sender.enqueue", "one signal of a fan at a time"},
	{"operator/observe.go", "Client.Observe", "signals the fan's workflow"},
	{"workflows/fan.go", "Fan", "owns the fan, opens its alert"},
	{"workflows/alert.go", "Alert", "escalates until it is acknowledged and over"},
	{"workflows/alert_notify.go", "alert.send", "one coroutine for each notification"},
	{"activities/notify.go", "Notifier.Notify", "words the message"},
	{"cloud/sns.go", "SNS.Publish", "tells people"},
}

var arrows = []arrow{
	{"Tach.Window", "Node.take", "Reading", "Window", "", "edge/node.go"},
	{"Node.take", "Spool.Append", "edge.Record", "Append", "", ""},
	{"Spool.Append", "session.send", "edge.Batch", "Next", "", "edge/publisher.go"},
	{"session.send", "broker.OnPublish", "Batch as JSON", "NewBatch", "MQTT", ""},
	{"broker.OnPublish", "engine.run", "message", "run", "", ""},
	{"engine.run", "Reader.Next", "record", "Put", "Kinesis", ""},
	{"Reader.Next", "shardReader.Next", "cloud.Record", "Next", "", "workers/aws.go"},
	{"shardReader.Next", "Scorer.ScoreShard", "detect.Input", "Next", "", "activities/score.go"},
	{"Scorer.ScoreShard", "Models.Feed", "detect.Input", "Feed", "", ""},
	{"Models.Feed", "DecodeRecord", "bytes", "DecodeRecord", "", ""},
	{"Models.Feed", "Fan.Judge", "Reading", "Judge", "", "detect/fan.go"},
	{"Models.Feed", "Forest.Score", "residuals", "Score", "", "detect/forest.go"},
	{"Scorer.ScoreShard", "lander.run", "Rows of a window", "enqueue", "", ""},
	{"lander.run", "Log.Append", "landing.Segment", "Append", "", ""},
	{"Log.Append", "Tables.Commit", "segments", "Next", "S3", "lake/tables.go"},
	{"Tables.Commit", "Tables.PlanCompaction", "data files", "PlanCompaction", "S3", "activities/lake.go"},
	{"Log.Append", "Server.Follow", "segments", "Walk", "S3", "dashboard/follow.go"},
	{"Scorer.ScoreShard", "pendingObservations.add", "detect.Output", "add", "", ""},
	{"pendingObservations.add", "sender.enqueue", "Observation", "enqueue", "", "activities/score.go"},
	{"sender.enqueue", "Client.Observe", "Observation", "Observe", "", ""},
	{"Client.Observe", "Fan", "signal observe", "SignalObserve", "Temporal", ""},
	{"Fan", "Alert", "AlertInput", "Alert", "Temporal", ""},
	{"Alert", "alert.send", "step", "send", "", ""},
	{"alert.send", "Notifier.Notify", "Notification", "Notification", "Temporal", ""},
	{"Notifier.Notify", "SNS.Publish", "cloud.Message", "Publish", "SNS", ""},
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
		file, err := parser.ParseFile(token.NewFileSet(), s.file, readText(t, s.file), 0)
		if err != nil {
			t.Fatal(err)
		}
		files[s.entry], byEntry[s.entry] = file, s
		if !declares(file, s.entry) {
			t.Errorf("%s declares no %s", s.file, s.entry)
		}
	}
	for _, a := range arrows {
		if files[a.from] == nil || files[a.to] == nil {
			t.Fatalf("the arrow from %s to %s: not both are stops", a.from, a.to)
		}
		in := cmp.Or(a.in, byEntry[a.from].file)
		caller, err := parser.ParseFile(token.NewFileSet(), in, readText(t, in), 0)
		if err != nil {
			t.Fatal(err)
		}
		if !mentions(caller, a.via) {
			t.Errorf("%s does not mention %s, by which %s hands on to %s", in, a.via, a.from, a.to)
		}
	}
	text := readText(t, "ARCHITECTURE.md")
	_, tour, _ := strings.Cut(text, "## The tour")
	tour, _, _ = strings.Cut(tour, "\n## ")
	for _, s := range stops {
		if !strings.Contains(tour, "`"+s.file+"`") {
			t.Errorf("the tour in ARCHITECTURE.md skips %s", s.file)
		}
	}
	picture := flowStart + draw() + flowEnd
	before, rest, found := strings.Cut(text, flowStart)
	_, after, ended := strings.Cut(rest, flowEnd)
	if !found || !ended {
		t.Fatalf("ARCHITECTURE.md has no place for the picture: %q and %q", flowStart, flowEnd)
	}
	if now := before + picture + after; now != text {
		if os.Getenv("FANWATCH_PICTURE") == "" {
			t.Fatal("ARCHITECTURE.md does not show this flow: draw it anew with the command above the picture")
		}
		if err := os.WriteFile("../ARCHITECTURE.md", []byte(now), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// readText returns the text of a file, named from the project's root.
func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
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
