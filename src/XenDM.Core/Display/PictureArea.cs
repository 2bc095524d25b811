namespace XenDM.Core.Display;

/// <summary>A part of a picture in pixels; 0, 0 is the left upper corner.</summary>
public readonly record struct PictureArea(int X, int Y, int Width, int Height);

/// <summary>Sides of a picture in pixels; 1 to <see cref="Frame.MaxWidth"/> and <see cref="Frame.MaxHeight"/>.</summary>
public readonly record struct PictureSize(int Width, int Height);
