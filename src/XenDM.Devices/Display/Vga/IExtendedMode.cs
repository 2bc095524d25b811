namespace XenDM.Devices.Display.Vga;

/// <summary>
/// What an adapter can put on the screen instead of the VGA's own modes: lines of pixels that lie one after the other in video memory, and the
/// registers that say so.
/// </summary>
internal interface IExtendedMode
{
    /// <summary>Such a mode is on the screen.</summary>
    bool IsOn { get; }

    /// <summary>The guest keeps such a mode dark, by other means than taking the palette off the screen.</summary>
    bool IsDark { get; }

    /// <summary>Pixels of a line, a multiple of 8, up to 16000.</summary>
    int Width { get; }

    /// <summary>Lines, 1 to 12000.</summary>
    int Height { get; }

    /// <summary>Bits a pixel: 4 (in four planes), 8 (of the palette), 15, 16, 24 or 32.</summary>
    int Depth { get; }

    /// <summary>Pixels of a line in memory before the first one that is seen.</summary>
    int X { get; }

    /// <summary>Where in video memory a line begins; what would lie behind the end of memory is found again at its beginning.</summary>
    /// <param name="y">0 to <see cref="Height"/> - 1.</param>
    /// <returns>Bytes; may lie behind the end of memory too.</returns>
    int LineAddress(int y);
}
