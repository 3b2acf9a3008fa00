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

resource "aws_lb" "app" {
  name               = "tf-app"
  load_balancer_type = "application"
  security_groups    = [aws_security_group.lb.id]
  subnets            = data.aws_subnets.default.ids
  idle_timeout       = var.revision > 1 ? 120 : 60

  tags = {
    Revision = var.revision
  }
}

resource "aws_lb" "internal" {
  name     = "tf-internal"
  internal = true
  subnets  = slice(sort(data.aws_subnets.default.ids), 0, 2)
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
    type            = "lb_cookie"
    cookie_duration = 3600
    enabled         = var.revision > 1
  }

  tags = {
    Name = "blue"
  }
}

resource "aws_lb_target_group" "green" {
  name        = "tf-green"
  port        = 8080
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = data.aws_vpc.default.id
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
    type             = "forward"
    target_group_arn = aws_lb_target_group.green.arn
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

data "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.app.arn
  port              = 80
  depends_on        = [aws_lb_listener.http]
}

data "aws_lb_target_group" "blue" {
  name       = "tf-blue"
  depends_on = [aws_lb_target_group.blue]
}

output "dns_name" {
  value = data.aws_lb.app.dns_name
}
