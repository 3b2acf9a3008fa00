provider "aws" {}

locals {
  second = var.revision > 1
}

data "aws_vpc" "default" {
  default = true
}

data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
}

resource "aws_acm_certificate" "front" {
  domain_name       = "front.example.com"
  validation_method = "DNS"
}

resource "aws_acm_certificate_validation" "front" {
  certificate_arn         = aws_acm_certificate.front.arn
  validation_record_fqdns = [for o in aws_acm_certificate.front.domain_validation_options : o.resource_record_name]
}

# Shown to those who ask for its name.
resource "aws_acm_certificate" "other" {
  domain_name       = "other.example.com"
  validation_method = "DNS"
}

resource "aws_acm_certificate_validation" "other" {
  certificate_arn         = aws_acm_certificate.other.arn
  validation_record_fqdns = [for o in aws_acm_certificate.other.domain_validation_options : o.resource_record_name]
}

resource "aws_lb_listener_certificate" "other" {
  listener_arn    = aws_lb_listener.https.arn
  certificate_arn = aws_acm_certificate_validation.other.certificate_arn
}

resource "aws_s3_bucket" "logs" {
  bucket        = "tf-front-logs"
  force_destroy = true
}

resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "logdelivery.elasticloadbalancing.amazonaws.com" }
      Action    = "s3:PutObject"
      Resource  = "${aws_s3_bucket.logs.arn}/*/AWSLogs/*"
    }]
  })
}

resource "aws_lb" "front" {
  name                                        = "tf-front"
  subnets                                     = data.aws_subnets.default.ids
  desync_mitigation_mode                      = local.second ? "monitor" : "strictest"
  enable_tls_version_and_cipher_suite_headers = local.second
  enable_waf_fail_open                        = local.second

  access_logs {
    bucket  = aws_s3_bucket_policy.logs.bucket
    prefix  = "requests"
    enabled = true
  }

  connection_logs {
    bucket  = aws_s3_bucket_policy.logs.bucket
    prefix  = "connections-${var.revision}"
    enabled = local.second
  }
}

resource "aws_lb_target_group" "blue" {
  name        = "tf-front-blue"
  port        = 80
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = data.aws_vpc.default.id
}

resource "aws_lb_target_group" "green" {
  name        = "tf-front-green"
  port        = 80
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = data.aws_vpc.default.id
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.front.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"
    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.front.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = local.second ? "ELBSecurityPolicy-TLS13-1-2-FIPS-2023-04" : "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = aws_acm_certificate_validation.front.certificate_arn

  routing_http_request_x_amzn_tls_version_header_name              = local.second ? "X-Tls" : null
  routing_http_response_strict_transport_security_header_value     = "max-age=${var.revision * 1000}"
  routing_http_response_access_control_allow_credentials_header_value = "true"

  default_action {
    type  = "authenticate-oidc"
    order = 1
    authenticate_oidc {
      issuer                     = "https://idp.example.com"
      authorization_endpoint     = "https://idp.example.com/authorize"
      token_endpoint             = "https://idp.example.com/token"
      user_info_endpoint         = "https://idp.example.com/userinfo"
      client_id                  = "front"
      client_secret              = "secret ${var.revision}"
      on_unauthenticated_request = local.second ? "deny" : "authenticate"
      scope                      = "openid email"
      session_cookie_name        = "front-session"
      session_timeout            = 3600
      authentication_request_extra_params = {
        prompt = "login"
      }
    }
  }

  default_action {
    type             = "forward"
    order            = 2
    target_group_arn = aws_lb_target_group.blue.arn
  }
}

resource "aws_lb_listener_rule" "login" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 10

  action {
    type  = "authenticate-oidc"
    order = 1
    authenticate_oidc {
      issuer                 = "https://idp.example.com"
      authorization_endpoint = "https://idp.example.com/authorize"
      token_endpoint         = "https://idp.example.com/token"
      user_info_endpoint     = "https://idp.example.com/userinfo"
      client_id              = "front"
      client_secret          = "another secret"
      session_timeout        = var.revision * 60
    }
  }

  action {
    type  = "forward"
    order = 2
    forward {
      target_group {
        arn    = aws_lb_target_group.blue.arn
        weight = 1
      }
      target_group {
        arn    = aws_lb_target_group.green.arn
        weight = 3
      }
      stickiness {
        enabled  = true
        duration = 600
      }
    }
  }

  condition {
    host_header {
      values = ["*.front.example.com"]
    }
  }

  condition {
    path_pattern {
      values = ["/private/*", "/admin?"]
    }
  }
}

resource "aws_lb_listener_rule" "fixed" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 20

  action {
    type = "fixed-response"
    fixed_response {
      content_type = "application/json"
      message_body = "{}"
      status_code  = "404"
    }
  }

  condition {
    http_header {
      http_header_name = "X-Env"
      values           = ["beta*"]
    }
  }

  condition {
    http_request_method {
      values = ["GET", "HEAD"]
    }
  }

  condition {
    source_ip {
      values = ["192.0.2.0/24"]
    }
  }
}

resource "aws_lb_listener_rule" "redirect" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 30

  action {
    type = "redirect"
    redirect {
      host        = "www.#{host}"
      path        = "/v${var.revision}/#{path}"
      query       = "from=#{protocol}"
      status_code = "HTTP_302"
    }
  }

  condition {
    query_string {
      key   = "version"
      value = "1*"
    }
    query_string {
      value = "old"
    }
  }
}
