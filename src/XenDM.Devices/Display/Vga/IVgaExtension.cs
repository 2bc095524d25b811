using System;

namespace XenDM.Devices.Display.Vga;

/// <summary>The indexed registers of a VGA that adapters add their own to.</summary>
internal enum RegisterBank
{
    /// <summary>Ports 3c4 and 3c5.</summary>
    Sequencer,

    /// <summary>Ports 3d4 and 3d5.</summary>
    Crtc,

    /// <summary>Ports 3ce and 3cf.</summary>
    Graphics,
}

/// <summary>What an adapter adds to the registers of the VGA. With one, the sequencer's index has 8 bits and that of the graphics controller 6.</summary>
internal interface IVgaExtension
{
    /// <summary>Registers of the adapter, or what it adds to one of the VGA's.</summary>
    /// <param name="index">All bits of the index register.</param>
    /// <returns>False for a register that is the VGA's alone.</returns>
    bool TryRead(RegisterBank bank, byte index, out byte value);

    /// <inheritdoc cref="TryRead"/>
    /// <returns>False when the VGA takes the value too.</returns>
    bool TryWrite(RegisterBank bank, byte index, byte value);

    /// <summary>Reads of the PEL mask come here first.</summary>
    /// <returns>False for the VGA's own register.</returns>
    bool TryReadPelMask(out byte value);

    /// <inheritdoc cref="TryReadPelMask"/>
    bool TryWritePelMask(byte value);

    /// <summary>Another register of the palette (3c7 to 3c9) was accessed.</summary>
    void PaletteAccessed();

    /// <summary>Entries, a power of two of them with 3 bytes each, that palette accesses go to instead of the VGA's; empty for those.</summary>
    Span<byte> OtherPalette { get; }

    /// <summary>The clock of the dots in kHz that the miscellaneous output register's bits 3:2 select.</summary>
    int DotClock(int select);
}
