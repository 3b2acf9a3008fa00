package l7

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/rules"
	"roadstead.dev/internal/model"
)

// reasons are the reason phrases of a load balancer's own answers, where they
// are not Go's.
var reasons = map[int]string{
	414: "Request-URI Too Large",
	408: "Request Time-out",
	503: "Service Temporarily Unavailable",
	504: "Gateway Time-out",
	405: "Not Allowed",
	561: "Authentication Error",
}

func reason(status int) string {
	if r, ok := reasons[status]; ok {
		return r
	}
	return http.StatusText(status)
}

// page is the body of an answer that only tells its status.
func page(status int) string {
	t := strconv.Itoa(status) + " " + reason(status)
	return "<html>\r\n<head><title>" + t + "</title></head>\r\n<body>\r\n<center><h1>" + t +
		"</h1></center>\r\n</body>\r\n</html>\r\n"
}

// fail answers with a status page. It returns keep, or false when the answer
// could not be sent.
func (c *conn) fail(status int, keep bool) bool {
	c.stats.own(status)
	if c.settings().Classic {
		return c.failClassic(status, keep)
	}
	return c.answer(status, "text/html", page(status), "", keep)
}

// answer sends a response of the load balancer's own.
func (c *conn) answer(status int, contentType, body, location string, keep bool) bool {
	if c.rec != nil {
		c.rec.Status = status
	}
	b := c.out[:0]
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, reason(status)...)
	b = append(b, "\r\n"...)
	if !c.settings().HideServer {
		b = append(b, "Server: awselb/2.0\r\n"...)
	}
	b = append(b, "Date: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\n"...)
	if status != 204 && status != 304 {
		if contentType != "" {
			b = append(b, "Content-Type: "...)
			b = append(b, contentType...)
			b = append(b, "\r\n"...)
		}
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, "\r\n"...)
	} else {
		body = ""
	}
	if location != "" {
		b = append(b, "Location: "...)
		b = append(b, location...)
		b = append(b, "\r\n"...)
	}
	b = append(b, c.settings().added...)
	b = append(b, c.extra...)
	if keep {
		b = append(b, "Connection: keep-alive\r\n\r\n"...)
	} else {
		b = append(b, "Connection: close\r\n\r\n"...)
	}
	if !c.isHead {
		b = append(b, body...)
	}
	c.out = b
	return c.write(b) == nil && keep
}

func (c *conn) fixed(a *model.FixedResponseAction) bool {
	c.stats.Fixed.Add(1)
	c.acted("fixed-response")
	status, err := strconv.Atoi(a.StatusCode)
	if err != nil {
		return c.fail(500, false)
	}
	c.stats.own(status)
	contentType := a.ContentType
	if contentType == "" {
		contentType = "text/plain"
	}
	return c.answer(status, contentType+"; charset=utf-8", a.MessageBody, "", c.skipBody())
}

// maxLocation is how long a redirect's URL may be.
const maxLocation = 8 << 10

func (c *conn) redirect(a *model.RedirectAction) bool {
	c.acted("redirect")
	location := c.location(a)
	if len(location) > maxLocation {
		c.stats.RedirectsTooLong.Add(1)
		return c.fail(414, c.skipBody())
	}
	c.stats.Redirects.Add(1)
	status := 302
	if a.StatusCode == "HTTP_301" {
		status = 301
	}
	c.stats.own(status)
	if c.rec != nil {
		c.rec.RedirectURL = location
	}
	return c.answer(status, "text/html", page(status), location, c.skipBody())
}

// location fills a redirect's placeholders in.
func (c *conn) location(a *model.RedirectAction) string {
	s := c.settings()
	protocol := strings.ToLower(fill(a.Protocol, "#{protocol}", s.Scheme))
	port := fill(a.Port, "#{port}", s.portText)
	all := strings.NewReplacer(
		"#{protocol}", s.Scheme,
		"#{host}", string(rules.HostOnly(c.req.Host)),
		"#{port}", s.portText,
		"#{path}", strings.TrimPrefix(string(c.req.Path()), "/"),
		"#{query}", string(c.req.Query()),
	)
	l := protocol + "://" + all.Replace(a.Host) + ":" + port + all.Replace(a.Path)
	if q := all.Replace(a.Query); q != "" {
		l += "?" + q
	}
	return l
}

func fill(s, placeholder, value string) string {
	if s == "" {
		return value
	}
	return strings.ReplaceAll(s, placeholder, value)
}

func portText(p int32) string { return strconv.Itoa(int(p)) }
