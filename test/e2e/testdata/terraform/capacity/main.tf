# A cluster that has no instances until its tasks need some: a capacity provider
# grows its group for them, and shrinks it again.
data "aws_ssm_parameter" "ecs" {
  name = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
}

data "aws_subnets" "default" {
  filter {
    name   = "default-for-az"
    values = ["true"]
  }
}

resource "aws_iam_role" "node" {
  name = "tf-capacity"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ec2.amazonaws.com" } }]
  })
}

resource "aws_iam_role_policy_attachment" "node" {
  role       = aws_iam_role.node.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "node" {
  name = "tf-capacity"
  role = aws_iam_role.node.name
}

resource "aws_ecs_cluster" "main" {
  name = "tf-capacity"
}

resource "aws_launch_template" "node" {
  name          = "tf-capacity"
  image_id      = data.aws_ssm_parameter.ecs.insecure_value
  instance_type = "t3.small"
  user_data     = base64encode("#!/bin/bash\necho ECS_CLUSTER=${aws_ecs_cluster.main.name} >> /etc/ecs/ecs.config\n")

  iam_instance_profile {
    arn = aws_iam_instance_profile.node.arn
  }

  depends_on = [aws_iam_role_policy_attachment.node]
}

resource "aws_autoscaling_group" "node" {
  name                  = "tf-capacity"
  min_size              = 0
  max_size              = 4
  vpc_zone_identifier   = data.aws_subnets.default.ids
  protect_from_scale_in = true
  force_delete          = true

  launch_template {
    id      = aws_launch_template.node.id
    version = "$Latest"
  }

  # The capacity provider adds it, and scales the group.
  tag {
    key                 = "AmazonECSManaged"
    value               = ""
    propagate_at_launch = true
  }

  lifecycle {
    ignore_changes = [desired_capacity]
  }
}

resource "aws_ecs_capacity_provider" "node" {
  name = "tf-capacity"

  auto_scaling_group_provider {
    auto_scaling_group_arn         = aws_autoscaling_group.node.arn
    managed_termination_protection = "ENABLED"
    managed_draining               = "ENABLED"

    managed_scaling {
      status                    = "ENABLED"
      target_capacity           = 110 - 10 * var.revision
      minimum_scaling_step_size = 1
      maximum_scaling_step_size = 4
      instance_warmup_period    = 0
    }
  }

  tags = {
    revision = var.revision
  }
}

resource "aws_ecs_capacity_provider" "plain" {
  name = "tf-capacity-plain"

  auto_scaling_group_provider {
    auto_scaling_group_arn = aws_autoscaling_group.plain.arn
  }
}

resource "aws_autoscaling_group" "plain" {
  name                = "tf-capacity-plain"
  min_size            = 0
  max_size            = 1
  vpc_zone_identifier = data.aws_subnets.default.ids

  launch_template {
    id      = aws_launch_template.node.id
    version = "$Latest"
  }

  lifecycle {
    ignore_changes = [tag]
  }
}

resource "aws_ecs_cluster_capacity_providers" "main" {
  cluster_name       = aws_ecs_cluster.main.name
  capacity_providers = var.revision > 1 ? [aws_ecs_capacity_provider.node.name, "FARGATE_SPOT"] : [aws_ecs_capacity_provider.node.name, aws_ecs_capacity_provider.plain.name]

  default_capacity_provider_strategy {
    capacity_provider = aws_ecs_capacity_provider.node.name
    weight            = 1
    base              = 1
  }
}

resource "aws_ecs_task_definition" "box" {
  family = "tf-capacity"

  container_definitions = jsonencode([{
    name      = "main"
    image     = "box"
    memory    = 700
    essential = true
  }])
}

# By the cluster's default strategy.
resource "aws_ecs_service" "default" {
  name            = "default"
  cluster         = aws_ecs_cluster.main.id
  task_definition = aws_ecs_task_definition.box.arn
  desired_count   = 1
  depends_on      = [aws_ecs_cluster_capacity_providers.main]

  lifecycle {
    ignore_changes = [capacity_provider_strategy]
  }
}

resource "aws_ecs_service" "named" {
  name            = "named"
  cluster         = aws_ecs_cluster.main.id
  task_definition = aws_ecs_task_definition.box.arn
  desired_count   = 3
  depends_on      = [aws_ecs_cluster_capacity_providers.main]

  capacity_provider_strategy {
    capacity_provider = aws_ecs_capacity_provider.node.name
    weight            = 100
  }

  ordered_placement_strategy {
    type  = "binpack"
    field = "memory"
  }
}
