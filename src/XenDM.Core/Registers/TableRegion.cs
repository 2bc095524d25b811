using XenDM.Core.Io;

namespace XenDM.Core.Registers;

/// <summary>A register table of one chip as a region of ports or memory. Offsets are those of the table.</summary>
public sealed class TableRegion<T> : IIoRegion
{
    private readonly RegisterTable<T> _table;
    private readonly T _chip;

    public TableRegion(RegisterTable<T> table, T chip)
    {
        _table = table;
        _chip = chip;
    }

    public ulong Read(ulong offset, int size) => _table.Read(_chip, offset, size);

    public void Write(ulong offset, int size, ulong value) => _table.Write(_chip, offset, size, value);
}
