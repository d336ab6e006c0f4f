package notify

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"

	"fanwatch"
)

// Sample is a reading, or the mean of a few, for a picture.
type Sample struct {
	At       time.Time
	RPM      float64
	Expected float64 // RPM; 0 = nothing was expected
	Low      float64 // lower end of the band, RPM
	High     float64 // upper end of the band, RPM
	Score    float64
}

// The size of a picture, in pixels, and the period that it shows.
const (
	pictureWidth  = 1000
	pictureHeight = 500
	pictureGap    = 2 * time.Minute // a line is not drawn over a longer time without samples
	maxSamples    = 4000            // more are thinned out
)

var (
	colorRPM      = color.RGBA{R: 0x0b, G: 0x57, B: 0xd0, A: 0xff}
	colorExpected = color.RGBA{R: 0x5f, G: 0x63, B: 0x68, A: 0xff}
	colorBand     = color.RGBA{R: 0xd7, G: 0xe3, B: 0xf4, A: 0xff}
	colorScore    = color.RGBA{R: 0x7b, G: 0x1f, B: 0xa2, A: 0xff}
	colorAlert    = color.RGBA{R: 0xc6, G: 0x28, B: 0x28, A: 0xff}
)

// Draw returns a PNG of the time from from to to: speed, what was expected with its band and, below, the score. A red
// line marks the alert's opening. Times are in the given zone. The error says that there is nothing to draw.
func Draw(a fanwatch.Alert, samples []Sample, from, to time.Time, zone *time.Location) ([]byte, error) {
	samples = within(samples, from, to)
	if len(samples) == 0 {
		return nil, fmt.Errorf("picture of %.100s: no reading from %s to %s", a.Fan, from.UTC().Format(time.RFC3339),
			to.UTC().Format(time.RFC3339))
	}
	rpm, score := plot.New(), plot.New()
	rpm.Title.Text = fmt.Sprintf("%s: %s", name(a.Fan), name(string(a.Kind)))
	rpm.Y.Label.Text, score.Y.Label.Text = "RPM", "score"
	rpm.Legend.Top, rpm.Legend.Left = false, true
	bounds(rpm, samples, func(s Sample) (lo, hi float64) {
		if s.Expected == 0 {
			return s.RPM, s.RPM
		}
		return min(s.RPM, s.Low), max(s.RPM, s.High)
	})
	bounds(score, samples, func(s Sample) (lo, hi float64) { return 0, s.Score })
	band(rpm, samples)
	line(rpm, "expected", colorExpected, samples, func(s Sample) (float64, bool) { return s.Expected, s.Expected != 0 })
	line(rpm, "measured", colorRPM, samples, func(s Sample) (float64, bool) { return s.RPM, true })
	line(score, "", colorScore, samples, func(s Sample) (float64, bool) { return s.Score, true })
	for _, p := range []*plot.Plot{rpm, score} {
		p.X.Min, p.X.Max = seconds(from), seconds(to)
		p.X.Tick.Marker = clockTicks{zone}
		p.Add(plotter.NewGrid())
		mark(p, a.Opened)
	}
	zoneName, _ := to.In(zone).Zone()
	score.X.Label.Text = fmt.Sprintf("%s (%s)", to.In(zone).Format("2 January 2006"), zoneName)
	return encode(rpm, score)
}

// within returns the samples of a period that can be drawn, thinned out.
func within(samples []Sample, from, to time.Time) []Sample {
	var found []Sample
	for _, s := range samples {
		sum := s.RPM + s.Expected + s.Low + s.High + s.Score
		if !s.At.Before(from) && !s.At.After(to) && !math.IsNaN(sum) && !math.IsInf(sum, 0) {
			found = append(found, s)
		}
	}
	step := (len(found) + maxSamples - 1) / maxSamples
	if step <= 1 {
		return found
	}
	thin := found[:0]
	for i, s := range found {
		if i%step == 0 || i == len(found)-1 {
			thin = append(thin, s)
		}
	}
	return thin
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

// bounds sets the range of the vertical axis, with a margin.
func bounds(p *plot.Plot, samples []Sample, of func(Sample) (lo, hi float64)) {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, s := range samples {
		l, h := of(s)
		lo, hi = min(lo, l), max(hi, h)
	}
	margin := max((hi-lo)/20, math.Abs(hi)/100, 0.5)
	p.Y.Min, p.Y.Max = max(0, lo-margin), hi+margin
}

// parts divides the samples where the time between two is longer than pictureGap or ok is false.
func parts(samples []Sample, ok func(Sample) bool) (all [][]Sample) {
	var part []Sample
	end := func() {
		if len(part) > 0 {
			all = append(all, part)
		}
		part = nil
	}
	for _, s := range samples {
		if len(part) > 0 && s.At.Sub(part[len(part)-1].At) > pictureGap {
			end()
		}
		if !ok(s) {
			end()
			continue
		}
		part = append(part, s)
	}
	end()
	return all
}

func line(p *plot.Plot, legend string, c color.Color, samples []Sample, of func(Sample) (float64, bool)) {
	for i, part := range parts(samples, func(s Sample) bool { _, ok := of(s); return ok }) {
		points := make(plotter.XYs, len(part))
		for j, s := range part {
			points[j].X = seconds(s.At)
			points[j].Y, _ = of(s)
		}
		l := &plotter.Line{XYs: points, LineStyle: draw.LineStyle{Color: c, Width: vg.Points(1.5)}}
		p.Add(l)
		if i == 0 && legend != "" {
			p.Legend.Add(legend, l)
		}
	}
}

func band(p *plot.Plot, samples []Sample) {
	for _, part := range parts(samples, func(s Sample) bool { return s.Expected != 0 && s.High >= s.Low }) {
		n := len(part)
		edge := make(plotter.XYs, 2*n)
		for i, s := range part {
			edge[i] = plotter.XY{X: seconds(s.At), Y: s.Low}
			edge[2*n-1-i] = plotter.XY{X: seconds(s.At), Y: s.High}
		}
		p.Add(&plotter.Polygon{XYs: []plotter.XYs{edge}, Color: colorBand})
	}
}

// mark draws the line of the alert's opening.
func mark(p *plot.Plot, at time.Time) {
	x := seconds(at)
	if at.IsZero() || x < p.X.Min || x > p.X.Max {
		return
	}
	l := &plotter.Line{XYs: plotter.XYs{{X: x, Y: p.Y.Min}, {X: x, Y: p.Y.Max}},
		LineStyle: draw.LineStyle{Color: colorAlert, Width: vg.Points(1.5), Dashes: []vg.Length{vg.Points(4), vg.Points(2)}}}
	p.Add(l)
	if p.Y.Label.Text == "RPM" {
		p.Legend.Add("alert", l)
	}
}

// clockTicks writes the horizontal axis as times of day.
type clockTicks struct{ zone *time.Location }

// Ticks implements plot.Ticker.
func (c clockTicks) Ticks(lo, hi float64) []plot.Tick {
	every := 10 * time.Minute
	for hi-lo > 12*every.Seconds() {
		every *= 2
	}
	var all []plot.Tick
	for t := time.Unix(int64(lo), 0).Truncate(every); seconds(t) <= hi; t = t.Add(every) {
		if seconds(t) >= lo {
			all = append(all, plot.Tick{Value: seconds(t), Label: t.In(c.zone).Format("15:04")})
		}
	}
	return all
}

// encode draws two plots above each other, of which the first has most of the room, as PNG.
func encode(above, below *plot.Plot) ([]byte, error) {
	const dpi = 96
	inch := func(pixels float64) vg.Length { return vg.Length(pixels) / dpi * vg.Inch }
	canvas := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseDPI(dpi),
		vgimg.UseWH(inch(pictureWidth), inch(pictureHeight)))}
	all := draw.New(canvas)
	split := all.Size().Y * 0.32
	upper := draw.Crop(all, inch(8), -inch(16), split, -inch(8))
	lower := draw.Crop(all, inch(8), -inch(16), inch(8), -(all.Size().Y - split))
	// the vertical axes of both begin at the same place
	left := func(p *plot.Plot, c draw.Canvas) vg.Length { return p.DataCanvas(c).Min.X }
	if d := left(above, upper) - left(below, lower); d > 0 {
		lower.Min.X += d
	} else {
		upper.Min.X -= d
	}
	above.Draw(upper)
	below.Draw(lower)
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("picture: %w", err)
	}
	return b.Bytes(), nil
}
