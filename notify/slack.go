package notify

import (
	"context"
	"encoding/json"
	"strings"
)

// slack is an incoming webhook of Slack, and of what takes the same, such as Mattermost.
// https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
type slack struct {
	opened
	Slack
}

// Send implements Channel. Slack cannot tell copies: one that it took without saying so in time comes again.
func (s slack) Send(ctx context.Context, m Message) (Receipt, error) {
	to, err := s.read("slack", s.URL)
	if err != nil {
		return Receipt{}, err
	}
	body, err := json.Marshal(slackMessage(m, Render(m, s.zone)))
	if err != nil {
		return Receipt{}, &Failure{text: "slack: the message has no JSON: " + err.Error(), permanent: true}
	}
	answer, err := s.post(ctx, "slack", to, body, nil)
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{Detail: status(answer)}, nil
}

type slackText struct {
	Type  string `json:"type"`
	Text  string `json:"text"`
	Emoji bool   `json:"emoji"`
}

type slackElement struct {
	Type  string    `json:"type"`
	Text  slackText `json:"text"`
	URL   string    `json:"url"`
	Style string    `json:"style,omitempty"`
}

type slackBlock struct {
	Type     string         `json:"type"`
	Text     *slackText     `json:"text,omitempty"`
	Elements []slackElement `json:"elements,omitempty"`
}

type slackDocument struct {
	Text   string       `json:"text"` // of notifications
	Blocks []slackBlock `json:"blocks"`
}

// slackEscape escapes what Slack reads as links and mentions in text that is not plain_text.
var slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// slackMessage lays the message out in blocks. Texts are plain_text, in which Slack reads no markup and no mentions.
func slackMessage(m Message, r Rendered) slackDocument {
	plain := func(text string, most int) slackText { return slackText{Type: "plain_text", Text: shorten(text, most)} }
	title, text := plain(r.Subject, 150), plain(r.Text, 3000)
	d := slackDocument{Text: slackEscape.Replace(r.Subject), Blocks: []slackBlock{{Type: "header", Text: &title},
		{Type: "section", Text: &text}}}
	var buttons []slackElement
	for _, l := range (page{Message: m}).buttons() {
		b := slackElement{Type: "button", Text: plain(l.Name, 75), URL: l.Value}
		if l.Name == "Acknowledge" {
			b.Style = "primary"
		}
		buttons = append(buttons, b)
	}
	if len(buttons) > 0 {
		d.Blocks = append(d.Blocks, slackBlock{Type: "actions", Elements: buttons})
	}
	return d
}

// shorten cuts a text of several lines to at most n bytes of whole characters.
func shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n-3], "") + "..."
}
