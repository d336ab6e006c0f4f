package iotcore

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of AWS IoT Core. https://docs.aws.amazon.com/general/latest/gr/iot-core.html
const (
	payloadMaximum  = 128 << 10 // bytes of a publish payload
	topicMaximum    = 256       // bytes of a topic or a filter, for Basic Ingest without $aws/rules/NAME/
	slashesMaximum  = 7         // of the same
	clientIDMaximum = 128       // bytes
)

// checkTopic says why the topic cannot be published to; nil when it can.
func checkTopic(topic string) error {
	if topic == "" {
		return errors.New("the topic is empty")
	}
	if strings.ContainsAny(topic, "+#") {
		return errors.New("a topic to publish to has no wildcards + or #")
	}
	return checkSize(topic)
}

// checkFilter tells why the topic filter is malformed; nil when it is not.
func checkFilter(filter string) error {
	if filter == "" {
		return errors.New("the topic filter is empty")
	}
	parts := strings.Split(filter, "/")
	for i, p := range parts {
		if strings.Contains(p, "#") && (p != "#" || i != len(parts)-1) {
			return errors.New("# stands alone and last in a topic filter")
		}
		if strings.Contains(p, "+") && p != "+" {
			return errors.New("+ stands for a whole level of a topic filter")
		}
	}
	return checkSize(filter)
}

func checkSize(topic string) error {
	if !utf8.ValidString(topic) || strings.ContainsRune(topic, 0) {
		return errors.New("the topic is not UTF-8 without zero bytes")
	}
	if len(topic) > topicMaximum {
		return fmt.Errorf("the topic has %d bytes, at most %d are allowed", len(topic), topicMaximum)
	}
	if n := strings.Count(topic, "/"); n > slashesMaximum {
		return fmt.Errorf("the topic has %d slashes, at most %d are allowed", n, slashesMaximum)
	}
	return nil
}

// matchFilter reports whether the topic fits the MQTT filter. A wildcard in first place does not match topics
// that start with $ (MQTT 3.1.1, 4.7.2).
func matchFilter(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(filter, "$") {
		return false
	}
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, p := range f {
		if p == "#" {
			return true
		}
		if i >= len(t) || p != "+" && p != t[i] {
			return false
		}
	}
	return len(f) == len(t)
}

// basicIngest splits $aws/rules/NAME/rest; ok is false for any other topic.
func basicIngest(topic string) (rule, rest string, ok bool) {
	s, found := strings.CutPrefix(topic, "$aws/rules/")
	if !found {
		return "", "", false
	}
	rule, rest, _ = strings.Cut(s, "/")
	return rule, rest, true
}
