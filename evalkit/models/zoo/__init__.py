"""Where models come from: files, keras.applications, module:function, vgg16-mini."""
