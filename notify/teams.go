package notify

import (
	"context"
	"encoding/json"
	"strings"

	"fanwatch"
)

// teams is a workflow of Microsoft Teams that starts "when a Teams webhook request is received".
// https://learn.microsoft.com/power-automate/teams/send-a-message-in-teams
type teams struct {
	opened
	Teams
}

// Send implements Channel. Teams cannot tell copies: one that it took without saying so in time comes again.
func (t teams) Send(ctx context.Context, m Message) (Receipt, error) {
	to, err := t.read("teams", t.URL)
	if err != nil {
		return Receipt{}, err
	}
	body, err := json.Marshal(teamsMessage(m, Render(m, t.zone)))
	if err != nil {
		return Receipt{}, &Failure{text: "teams: the message has no JSON: " + err.Error(), permanent: true}
	}
	answer, err := t.post(ctx, "teams", to, body, nil)
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{Detail: status(answer)}, nil
}

// A card is made of RichTextBlocks, whose runs are no Markdown: a TextBlock would read links out of a fan's name.
// https://adaptivecards.io/explorer/TextRun.html
type teamsRun struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Weight string `json:"weight,omitempty"`
	Size   string `json:"size,omitempty"`
	Color  string `json:"color,omitempty"`
}

type teamsBlock struct {
	Type    string     `json:"type"`
	Inlines []teamsRun `json:"inlines"`
}

type teamsAction struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

type teamsCard struct {
	Schema  string        `json:"$schema"`
	Type    string        `json:"type"`
	Version string        `json:"version"`
	Body    []teamsBlock  `json:"body"`
	Actions []teamsAction `json:"actions,omitempty"`
}

type teamsAttachment struct {
	ContentType string    `json:"contentType"`
	Content     teamsCard `json:"content"`
}

type teamsDocument struct {
	Type        string            `json:"type"`
	Attachments []teamsAttachment `json:"attachments"`
}

func teamsMessage(m Message, r Rendered) teamsDocument {
	color := "attention"
	if m.Event == fanwatch.EventOver {
		color = "good"
	}
	card := teamsCard{Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4",
		Body: []teamsBlock{{"RichTextBlock", []teamsRun{{"TextRun", r.Subject, "bolder", "medium", color}}}}}
	for line := range strings.SplitSeq(strings.TrimSpace(shorten(r.Text, 10_000)), "\n") {
		if line != "" {
			card.Body = append(card.Body, teamsBlock{"RichTextBlock", []teamsRun{{Type: "TextRun", Text: line}}})
		}
	}
	for _, l := range (page{Message: m}).buttons() {
		card.Actions = append(card.Actions, teamsAction{"Action.OpenUrl", l.Name, l.Value})
	}
	return teamsDocument{"message", []teamsAttachment{{"application/vnd.microsoft.card.adaptive", card}}}
}
