"""Fast exact passes: composed images, occlusion windows, perturbations, memory."""
