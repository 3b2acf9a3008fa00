# Auto Scaling groups as people write them for Amazon ECS: one from a launch
# template, which is refreshed when the template changes, and a mixed one.
data "aws_ssm_parameter" "ecs" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
}

resource "aws_iam_role" "node" {
  name = "tf-autoscaling"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }]
  })
}

resource "aws_iam_instance_profile" "node" {
  name = "tf-autoscaling"
  role = aws_iam_role.node.name
}

resource "aws_vpc" "main" {
  cidr_block = "10.41.0.0/16"
}

resource "aws_subnet" "main" {
  for_each          = { a = 1, b = 2 }
  vpc_id            = aws_vpc.main.id
  cidr_block        = "10.41.${each.value}.0/24"
  availability_zone = "us-east-1${each.key}"
}

resource "aws_launch_template" "node" {
  name          = "tf-autoscaling"
  image_id      = data.aws_ssm_parameter.ecs.insecure_value
  instance_type = "t3.micro"
  user_data     = base64encode("#!/bin/bash\necho ECS_CLUSTER=tf${var.revision} >> /etc/ecs/ecs.config\n")

  iam_instance_profile {
    arn = aws_iam_instance_profile.node.arn
  }
}

resource "aws_lb_target_group" "node" {
  for_each    = toset(["attached", "source"])
  name        = "tf-autoscaling-${each.key}"
  protocol    = "HTTP"
  port        = 80
  vpc_id      = aws_vpc.main.id
  target_type = "instance"

  deregistration_delay = 0
}

resource "aws_autoscaling_group" "nodes" {
  name                      = "tf-nodes"
  min_size                  = 1
  max_size                  = 4
  desired_capacity          = var.revision
  vpc_zone_identifier       = [for s in aws_subnet.main : s.id]
  health_check_type         = "EC2"
  health_check_grace_period = 30 * var.revision
  default_cooldown          = 60
  default_instance_warmup   = 0
  termination_policies      = ["OldestLaunchTemplate", "Default"]
  max_instance_lifetime     = 86400 * var.revision
  enabled_metrics           = ["GroupInServiceInstances", "GroupDesiredCapacity"]
  suspended_processes       = var.revision > 1 ? ["AZRebalance"] : []
  wait_for_capacity_timeout = "2m"
  force_delete              = true

  launch_template {
    id      = aws_launch_template.node.id
    version = aws_launch_template.node.latest_version
  }

  instance_maintenance_policy {
    min_healthy_percentage = 90
    max_healthy_percentage = 120
  }

  instance_refresh {
    strategy = "Rolling"

    preferences {
      min_healthy_percentage = 50
      max_healthy_percentage = 150
      instance_warmup        = 0
      skip_matching          = true
    }
  }

  initial_lifecycle_hook {
    name                 = "first"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    default_result       = "CONTINUE"
    heartbeat_timeout    = 30
  }

  tag {
    key                 = "Name"
    value               = "tf-nodes-${var.revision}"
    propagate_at_launch = true
  }

  tag {
    key                 = "AmazonECSManaged"
    value               = ""
    propagate_at_launch = true
  }
}

resource "aws_autoscaling_group" "mixed" {
  name                      = "tf-mixed"
  min_size                  = 0
  max_size                  = 4
  desired_capacity          = 2
  vpc_zone_identifier       = [aws_subnet.main["a"].id]
  capacity_rebalance        = true
  protect_from_scale_in     = true
  wait_for_capacity_timeout = "2m"

  mixed_instances_policy {
    instances_distribution {
      on_demand_base_capacity                  = 1
      on_demand_percentage_above_base_capacity = var.revision > 1 ? 50 : 0
      spot_allocation_strategy                 = "price-capacity-optimized"
    }

    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.node.id
        version            = "$Latest"
      }

      override {
        instance_type = "t3.small"
      }

      override {
        instance_type = "t3a.small"
      }
    }
  }

  # The tag is another resource's.
  lifecycle {
    ignore_changes = [tag]
  }
}

resource "aws_autoscaling_group_tag" "mixed" {
  autoscaling_group_name = aws_autoscaling_group.mixed.name

  tag {
    key                 = "Revision"
    value               = var.revision
    propagate_at_launch = false
  }
}

resource "aws_autoscaling_lifecycle_hook" "mixed" {
  name                   = "drain"
  autoscaling_group_name = aws_autoscaling_group.mixed.name
  lifecycle_transition   = "autoscaling:EC2_INSTANCE_TERMINATING"
  default_result         = "CONTINUE"
  heartbeat_timeout      = 30 * var.revision
  notification_metadata  = jsonencode({ of = "tf" })
}

resource "aws_autoscaling_attachment" "nodes" {
  autoscaling_group_name = aws_autoscaling_group.nodes.name
  lb_target_group_arn    = aws_lb_target_group.node["attached"].arn
}

resource "aws_autoscaling_traffic_source_attachment" "mixed" {
  autoscaling_group_name = aws_autoscaling_group.mixed.name

  traffic_source {
    identifier = aws_lb_target_group.node["source"].arn
    type       = "elbv2"
  }
}

data "aws_autoscaling_group" "nodes" {
  name = aws_autoscaling_group.nodes.name
}

data "aws_autoscaling_groups" "tagged" {
  filter {
    name   = "tag-key"
    values = ["AmazonECSManaged"]
  }

  depends_on = [aws_autoscaling_group.nodes]
}

output "found" {
  value = join(" ", [
    data.aws_autoscaling_group.nodes.desired_capacity, data.aws_autoscaling_group.nodes.health_check_type,
    join(",", data.aws_autoscaling_groups.tagged.names), length(aws_autoscaling_group.nodes.availability_zones),
  ])
}
