package notify

import (
	"bytes"
	"image/png"
	"math"
	"os"
	"sync"
	"testing"
	"time"

	"fanwatch"
)

func hourOfSamples(opened time.Time) []Sample {
	var all []Sample
	for i := range 1500 {
		s := Sample{At: opened.Add(time.Duration(i)*2*time.Second - 50*time.Minute), RPM: 2900 + 20*math.Sin(float64(i)/9),
			Expected: 2900, Low: 2850, High: 2950, Score: 1 + 0.1*math.Sin(float64(i)/30)}
		switch {
		case i > 600 && i < 800:
			continue // nothing came
		case i < 200:
			s.Expected, s.Low, s.High = 0, 0, 0
		case s.At.After(opened):
			s.RPM, s.Score = 0, 4
		}
		all = append(all, s)
	}
	return all
}

func TestAPictureOfTheLastHourIsDrawnInTheReadersZone(t *testing.T) {
	opened := time.Date(2026, 12, 1, 2, 14, 0, 0, time.UTC)
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	a := fanwatch.Alert{Fan: "fan-07", Kind: fanwatch.KindStall, Opened: opened}
	b, err := Draw(a, hourOfSamples(opened), opened.Add(-time.Hour), opened.Add(2*time.Minute), berlin)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil || img.Bounds().Dx() != 1000 || img.Bounds().Dy() != 500 || len(b) > 150_000 {
		t.Fatalf("%d bytes, %v, %v", len(b), img.Bounds(), err)
	}
	if to := os.Getenv("FANWATCH_PICTURE"); to != "" {
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	utc, err := Draw(a, hourOfSamples(opened), opened.Add(-time.Hour), opened.Add(2*time.Minute), time.UTC)
	if err != nil || bytes.Equal(b, utc) {
		t.Errorf("the picture is the same in another zone: %v", err)
	}
}

func TestAPictureWithoutReadingsIsNone(t *testing.T) {
	nan := []Sample{{At: night, RPM: math.NaN()}, {At: night.Add(-2 * time.Hour), RPM: 1}}
	if b, err := Draw(stall(), nan, night.Add(-time.Hour), night, time.UTC); err == nil || b != nil {
		t.Errorf("%d bytes", len(b))
	}
}

// TestPicturesOfManySamplesAreDrawnAtOnce: drawing shares no state, and a day of readings is thinned out.
func TestPicturesOfManySamplesAreDrawnAtOnce(t *testing.T) {
	samples := make([]Sample, 20_000)
	for i := range samples {
		samples[i] = Sample{At: night.Add(time.Duration(i-20_000) * 100 * time.Millisecond), RPM: float64(i % 7),
			Expected: float64(i%5) + 1, Low: float64(i % 5), High: float64(i%5) + 2}
	}
	if n := len(within(samples, night.Add(-time.Hour), night)); n > maxSamples+1 {
		t.Errorf("%d samples", n)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if _, err := Draw(stall(), samples, night.Add(-time.Hour), night, time.UTC); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
