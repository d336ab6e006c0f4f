package iotcore

import "testing"

func FuzzLoopbackName(f *testing.F) {
	for _, s := range []string{"localhost", "localhost.", "LOCALHOST:80", "127.0.0.1:4566", "[::1]:80", "::1",
		"evil.example", "127.0.0.1.evil.example",
		"localhost.evil.example", "169.254.169.254", "", ":80", "[::ffff:127.0.0.1]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if loopbackName(s) && loopbackName(s+".evil.example") {
			t.Errorf("%q is taken with a foreign name behind it", s)
		}
	})
}

func TestLoopbackName(t *testing.T) {
	for host, want := range map[string]bool{"localhost": true, "LOCALHOST.:80": true, "127.0.0.1:4566": true,
		"[::1]:80": true, "s3.localhost": true,
		"evil.example": false, "127.0.0.1.evil.example:4566": false, "localhost.evil.example": false, "10.0.0.1": false,
		"": false} {
		if got := loopbackName(host); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}
