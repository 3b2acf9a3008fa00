provider "aws" {}

data "aws_vpc" "default" {
  default = true
}

data "aws_subnets" "default" {
  filter {
    name   = "default-for-az"
    values = ["true"]
  }
}

resource "aws_security_group" "lb" {
  name   = "tf-lb"
  vpc_id = data.aws_vpc.default.id

  ingress {
    protocol    = "tcp"
    from_port   = 80
    to_port     = 80
    cidr_blocks = ["0.0.0.0/0"]
  }

  egress {
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_security_group" "second" {
  name   = "tf-lb-second"
  vpc_id = data.aws_vpc.default.id
}

# All of it changes in place: addresses, groups, attributes and tags.
resource "aws_lb" "app" {
  name                             = "tf-app"
  load_balancer_type               = "application"
  ip_address_type                  = "ipv4"
  security_groups                  = var.revision > 1 ? [aws_security_group.lb.id, aws_security_group.second.id] : [aws_security_group.lb.id]
  subnets                          = var.revision > 1 ? data.aws_subnets.default.ids : slice(sort(data.aws_subnets.default.ids), 0, 2)
  idle_timeout                     = var.revision > 1 ? 120 : 60
  client_keep_alive                = var.revision > 1 ? 600 : 3600
  drop_invalid_header_fields       = var.revision > 1
  preserve_host_header             = var.revision > 1
  enable_xff_client_port           = var.revision > 1
  xff_header_processing_mode       = var.revision > 1 ? "preserve" : "append"
  desync_mitigation_mode           = var.revision > 1 ? "strictest" : "defensive"
  enable_http2                     = var.revision > 1
  enable_deletion_protection       = false
  enable_cross_zone_load_balancing = true
  enable_zonal_shift               = var.revision > 1

  access_logs {
    bucket  = ""
    enabled = false
  }

  connection_logs {
    bucket  = ""
    enabled = false
  }

  tags = {
    Case     = "balancer"
    Revision = var.revision
  }
}

# By the names that the resources had before.
resource "aws_alb" "internal" {
  name_prefix = "tfint-"
  internal    = true

  dynamic "subnet_mapping" {
    for_each = slice(sort(data.aws_subnets.default.ids), 0, 2)
    content {
      subnet_id = subnet_mapping.value
    }
  }
}

resource "aws_alb_target_group" "old" {
  name_prefix = "tfold-"
  port        = 80
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = data.aws_vpc.default.id

  load_balancing_algorithm_type     = var.revision > 1 ? "weighted_random" : "round_robin"
  load_balancing_anomaly_mitigation = var.revision > 1 ? "on" : "off"
  load_balancing_cross_zone_enabled = "true"
}

resource "aws_lb_target_group" "calls" {
  name             = "tf-calls"
  port             = 50051
  protocol         = "HTTP"
  protocol_version = "GRPC"
  target_type      = "ip"
  vpc_id           = data.aws_vpc.default.id

  health_check {
    path    = var.revision > 1 ? "/grpc.health.v1.Health/Check" : "/AWS.ALB/healthcheck"
    matcher = var.revision > 1 ? "0" : "0-99"
  }
}

resource "aws_alb_target_group_attachment" "old" {
  target_group_arn  = aws_alb_target_group.old.arn
  target_id         = "10.11.12.13"
  availability_zone = "all"
}

resource "aws_alb_listener" "old" {
  load_balancer_arn = aws_alb.internal.arn
  port              = var.revision > 1 ? 8443 : 8080

  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
    }
  }
}

resource "aws_alb_listener_rule" "old" {
  listener_arn = aws_alb_listener.old.arn
  priority     = 1

  action {
    type = "redirect"
    redirect {
      host        = "new.example.com"
      path        = "/new/#{path}"
      query       = "from=old"
      status_code = "HTTP_302"
    }
  }

  condition {
    path_pattern {
      values = ["/old/*"]
    }
  }
}

resource "aws_lb_target_group" "blue" {
  name                 = "tf-blue"
  port                 = 8080
  protocol             = "HTTP"
  target_type          = "ip"
  vpc_id               = data.aws_vpc.default.id
  deregistration_delay = 10

  health_check {
    path                = "/health"
    interval            = var.revision > 1 ? 15 : 10
    healthy_threshold   = 2
    unhealthy_threshold = 3
    timeout             = 5
    matcher             = "200-299"
  }

  stickiness {
    type            = var.revision > 1 ? "app_cookie" : "lb_cookie"
    cookie_name     = var.revision > 1 ? "session" : null
    cookie_duration = 3600
    enabled         = var.revision > 1
  }

  tags = {
    Name = "blue"
  }
}

resource "aws_lb_target_group" "green" {
  name                          = "tf-green"
  port                          = 8080
  protocol                      = "HTTP"
  protocol_version              = "HTTP1"
  target_type                   = "ip"
  ip_address_type               = "ipv4"
  vpc_id                        = data.aws_vpc.default.id
  slow_start                    = var.revision > 1 ? 0 : 30
  load_balancing_algorithm_type = var.revision > 1 ? "least_outstanding_requests" : "round_robin"

  health_check {
    enabled  = true
    port     = var.revision > 1 ? "9090" : "traffic-port"
    protocol = "HTTP"
  }

  target_group_health {
    dns_failover {
      minimum_healthy_targets_count      = var.revision > 1 ? "2" : "1"
      minimum_healthy_targets_percentage = var.revision > 1 ? "50" : "off"
    }

    unhealthy_state_routing {
      minimum_healthy_targets_count      = var.revision > 1 ? 2 : 1
      minimum_healthy_targets_percentage = var.revision > 1 ? "50" : "off"
    }
  }
}

resource "aws_lb_target_group_attachment" "blue" {
  target_group_arn = aws_lb_target_group.blue.arn
  target_id        = "172.31.0.200"
  port             = 8080
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.app.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.blue.arn
  }

  tags = {
    Revision = var.revision
  }
}

resource "aws_lb_listener" "redirect" {
  load_balancer_arn = aws_lb.app.arn
  port              = 8080
  protocol          = "HTTP"

  routing_http_response_server_enabled                                = var.revision > 1 ? false : true
  routing_http_response_x_frame_options_header_value                  = "DENY"
  routing_http_response_access_control_allow_origin_header_value      = var.revision > 1 ? "https://example.com" : "*"
  routing_http_response_access_control_allow_methods_header_value     = "GET,PUT"
  routing_http_response_access_control_allow_headers_header_value     = "*"
  routing_http_response_access_control_expose_headers_header_value    = "X-A"
  routing_http_response_access_control_allow_credentials_header_value = "true"
  routing_http_response_access_control_max_age_header_value           = "600"
  routing_http_response_content_security_policy_header_value          = "default-src 'self'"
  routing_http_response_strict_transport_security_header_value        = "max-age=3600; includeSubDomains"
  routing_http_response_x_content_type_options_header_value           = "nosniff"

  default_action {
    type = "redirect"
    redirect {
      port        = "80"
      protocol    = "HTTP"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_lb_listener" "weighted" {
  load_balancer_arn = aws_lb.app.arn
  port              = 8081
  protocol          = "HTTP"

  default_action {
    type = "forward"
    forward {
      target_group {
        arn    = aws_lb_target_group.blue.arn
        weight = var.revision > 1 ? 50 : 90
      }
      target_group {
        arn    = aws_lb_target_group.green.arn
        weight = var.revision > 1 ? 50 : 10
      }
      stickiness {
        enabled  = true
        duration = 600
      }
    }
  }
}

resource "aws_lb_listener_rule" "api" {
  listener_arn = aws_lb_listener.http.arn
  priority     = var.revision > 1 ? 20 : 10

  action {
    type = "forward"
    forward {
      target_group {
        arn = aws_lb_target_group.green.arn
      }
      stickiness {
        enabled  = true
        duration = 600
      }
    }
  }

  condition {
    path_pattern {
      values = ["/api/*"]
    }
  }

  condition {
    host_header {
      values = var.revision > 1 ? ["api.example.com", "*.api.example.com"] : ["api.example.com"]
    }
  }

  tags = {
    Name = "api"
  }
}

resource "aws_lb_listener_rule" "teapot" {
  listener_arn = aws_lb_listener.http.arn

  action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      message_body = "short and stout, revision ${var.revision}"
      status_code  = "418"
    }
  }

  condition {
    http_header {
      http_header_name = "X-Vessel"
      values           = ["teapot"]
    }
  }

  condition {
    http_request_method {
      values = ["GET"]
    }
  }

  condition {
    query_string {
      key   = "brew"
      value = "tea"
    }
    query_string {
      value = "now"
    }
  }

  condition {
    source_ip {
      values = ["10.0.0.0/8"]
    }
  }

  lifecycle {
    ignore_changes = [priority]
  }
}

data "aws_lb" "app" {
  arn = aws_lb.app.arn
}

data "aws_alb" "by_name" {
  name       = "tf-app"
  depends_on = [aws_lb.app]
}

data "aws_lbs" "tagged" {
  tags       = { Case = "balancer", Revision = var.revision }
  depends_on = [aws_lb.app]
}

data "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.app.arn
  port              = 80
  depends_on        = [aws_lb_listener.http]
}

data "aws_lb_listener_rule" "api" {
  arn = aws_lb_listener_rule.api.arn
}

data "aws_lb_target_group" "blue" {
  name       = "tf-blue"
  depends_on = [aws_lb_target_group.blue]
}

data "aws_lb_hosted_zone_id" "here" {}

data "aws_elb_service_account" "here" {}

output "dns_name" {
  value = data.aws_lb.app.dns_name
}

output "found" {
  value = join(" ", [
    data.aws_alb.by_name.arn == aws_lb.app.arn,
    data.aws_lb.app.zone_id == data.aws_lb_hosted_zone_id.here.id,
    length(data.aws_lbs.tagged.arns),
    data.aws_lb_listener.http.default_action[0].type,
    data.aws_lb_listener_rule.api.priority == aws_lb_listener_rule.api.priority,
    data.aws_lb_target_group.blue.health_check[0].path,
    length(data.aws_elb_service_account.here.arn) > 0,
  ])
}
